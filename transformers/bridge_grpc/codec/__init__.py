"""ProtoJSON, compiled: one reader and one writer a message. No I/O: values in, values out."""
