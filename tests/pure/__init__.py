"""Pure rooms: values in, values out; Hypothesis where there is a rule, no event loop, no clock."""
