"""SOAP's own encoding, for rpc/encoded operations (SOAP 1.1, section 5; SOAP 1.2 part 2, section 3).

It differs from literal XML in four things, and only these are written here: every element says its type, any of them
may be nil, arrays are arrays, and a value that several places share stands once and is referred to.
"""
