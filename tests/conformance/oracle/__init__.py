"""The real Erlang/OTP supervisor as a judge: makes scenarios, and has Erlang play them."""
