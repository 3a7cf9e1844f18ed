"""The SOAP encoding, for rpc/encoded operations (SOAP 1.1, section 5; SOAP 1.2 part 2, section 3).

It differs from literal XML in four ways, which are implemented here: each element names its type, any element may be
nil, arrays have a type, and a shared value occurs once and is referred to.
"""
