"""This library against the real Erlang/OTP supervisor: the same scenarios, the same traces. See README.md."""
