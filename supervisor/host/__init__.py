"""The operating system: processes and their trees, signals, terminals; what differs between platforms ends here."""
