"""Requests to etcd's own JSON gateway and to ours, and where the two differ.

A story leaves the store as it found it, so that it can be told twice, once to each.
"""

from __future__ import annotations

from tests.live.etcd_kit import b64

JSON = "application/json"
KERN, MARIN, FROM, TO = b64("county/kern"), b64("county/marin"), b64("county/"), b64("county0")
RANGE, PUT, DELETE, TXN = "/v3/kv/range", "/v3/kv/put", "/v3/kv/deleterange", "/v3/kv/txn"
_GONE = (DELETE, f'{{"key":"{FROM}","range_end":"{TO}"}}')
_KERN = (PUT, f'{{"key":"{KERN}","value":"{b64("10412")}"}}')
_MARIN = (PUT, f'{{"key":"{MARIN}","value":"{b64("731")}","prev_kv":true}}')


def _range(more: str) -> tuple[str, str]:
    return RANGE, f'{{"key":"{FROM}","range_end":"{TO}"{more}}}'


def _txn(text: str) -> tuple[str, str]:
    return TXN, text.replace("KERN", KERN).replace("MARIN", MARIN)


STORIES: dict[str, list[tuple[str, str]]] = {
    "keys": [
        _KERN, _MARIN, _MARIN, _range(""), _range(',"limit":"1"'), _range(',"limit":1'), _range(',"count_only":true'),
        _range(',"keys_only":true,"sort_order":"DESCEND","sort_target":"VALUE"'), _range(',"sort_order":2'),
        _range(',"sort_order":2,"sort_target":null,"limit":null,"serializable":false'),
        (RANGE, f'{{"key":"{FROM}","rangeEnd":"{TO}","sortOrder":"DESCEND"}}'), (RANGE, '{"key":"/+8="}'),
        (DELETE, f'{{"key":"{MARIN}","prev_kv":true}}'), (DELETE, f'{{"key":"{MARIN}"}}'),
        (PUT, f'{{"key":"{KERN}","value":""}}'), _range(""), _GONE, _range(""),
    ],
    "transactions": [
        _KERN,
        _txn('{"compare":[{"key":"KERN","target":"VALUE","value":"MTA0MTI=","result":"EQUAL"}],'
             '"success":[{"request_range":{"key":"KERN"}},{"request_put":{"key":"MARIN","value":"MQ==","prev_kv":true}}],'
             '"failure":[{"request_delete_range":{"key":"KERN"}}]}'),
        _txn('{"compare":[{"key":"MARIN","target":"VERSION","version":"9","result":"GREATER"}],'
             '"success":[{"request_range":{"key":"KERN"}}],"failure":[{"request_delete_range":{"key":"MARIN"}}]}'),
        _txn('{"compare":[{"key":"MARIN","target":2,"mod_revision":"0","result":0}],'
             '"success":[{"request_txn":{"success":[{"requestPut":{"key":"MARIN"}}]}}]}'),
        _txn('{"success":[{"request_put":{"key":"KERN"}},{"request_put":{"key":"KERN"}}]}'),
        _txn('{"success":[{"request_range":{"key":"KERN"},"request_delete_range":{"key":"MQ=="}}]}'),
        (TXN, "{}"), (TXN, '{"success":[{}]}'), (TXN, '{"success":[null]}'), _GONE,
    ],
    "leases": [
        ("/v3/lease/grant", '{"ID":"77","TTL":"60"}'), ("/v3/lease/grant", '{"ID":"77","TTL":"60"}'),
        ("/v3/lease/grant", '{"TTL":"9999999999"}'),
        (PUT, f'{{"key":"{KERN}","lease":"77"}}'), (PUT, f'{{"key":"{KERN}","lease":"78"}}'), _range(""),
        ("/v3/lease/leases", "{}"), ("/v3/kv/lease/leases", "{}"),
        ("/v3/lease/timetolive", '{"ID":"78","keys":true}'), ("/v3/lease/revoke", '{"ID":77}'),
        ("/v3/kv/lease/revoke", '{"ID":"77"}'), ("/v3/lease/revoke", '{"id":"77"}'), _range(""),
    ],
    "roles": [
        ("/v3/auth/role/add", '{"name":"clerk"}'), ("/v3/auth/role/add", '{"name":"clerk"}'),
        ("/v3/auth/role/grant", f'{{"name":"clerk","perm":{{"permType":"READWRITE","key":"{KERN}"}}}}'),
        ("/v3/auth/role/get", '{"role":"clerk"}'), ("/v3/auth/role/list", "{}"),
        ("/v3/auth/role/grant", f'{{"name":"clerk","perm":{{"permType":"READWRIT","key":"{KERN}"}}}}'),
        ("/v3/auth/role/delete", '{"role":"clerk"}'), ("/v3/auth/user/list", "{}"),
        ("/v3/auth/user/get", '{"name":"nobody"}'), ("/v3/auth/enable", "{}"), ("/v3/auth/status", "{}"),
    ],
    "the cluster": [
        ("/v3/cluster/member/list", "{}"), ("/v3/cluster/member/add", '{"peerURLs":["nonsense"]}'),
        ("/v3/maintenance/status", "{}"), ("/v3/maintenance/hash", "{}"), ("/v3/maintenance/alarm", "{}"),
        ("/v3/maintenance/alarm", '{"action":"GET","memberID":"0","alarm":"NOSPACE"}'),
        ("/v3/maintenance/hashkv", "{}"), ("/v3/maintenance/transfer-leadership", '{"targetID":"5"}'),
    ],
    "refusals": [
        (PUT, "{}"), (PUT, f'{{"key":"{KERN}","ignore_value":true,"value":"YQ=="}}'),
        (RANGE, f'{{"key":"{KERN}","revision":"999999999"}}'), ("/v3/kv/compaction", '{"revision":"999999999"}'),
        ("/v3/kv/nothing", "{}"),
    ],
    "JSON": [(RANGE, body) for body in (
        '{"key":"YQ"}', '{"key":"_-8="}', '{"key":"!!"}', '{"key":"YQ==\\n"}', '{"key":7}',
        '{"key":"YQ==","limit":1.0}', '{"key":"YQ==","limit":1e0}', '{"key":"YQ==","limit":"1.0"}',
        '{"key":"YQ==","limit":1.5}', '{"key":"YQ==","limit":"x"}', '{"key":"YQ==","limit":""}',
        '{"key":"YQ==","limit":" 1"}', '{"key":"YQ==","limit":9223372036854775808}', '{"key":"YQ==","limit":"-1"}',
        '{"key":"YQ==","sort_order":"2"}', '{"key":"YQ==","sort_order":"descend"}', '{"key":"YQ==","sort_order":7}',
        '{"key":"YQ==","rangeEnd":"Yg==","range_end":"Yw=="}', '{"key":"YQ==","key":"Yg=="}',
        '{"key":"YQ==","keys_only":"true"}', '{"key":"YQ==","keys_only":1}', '{"key":"YQ==","nothing":1}',
        "null", "[]", "{", "", '{"key":"YQ=="} x', '{"key":"YQ=="}{"key":"Yg=="}',
    )],
}  # fmt: skip

#: What decides, their status and ours, and the requests.
Rows = list[tuple[str, int, int, list[tuple[str, str]]]]

_OF_ALL: Rows = [
    ("ProtoJSON: parsers refuse unknown fields by default", 200, 400, [(RANGE, '{"key":"YQ==","nothing":1}')]),
    ("ProtoJSON: parsers refuse unknown fields by default; the name is ID", 404, 400, [
        ("/v3/lease/revoke", '{"id":"77"}'),
    ]),
    ("RFC 8259, section 2: a text is one value, and nothing follows it", 200, 400, [
        (RANGE, '{"key":"YQ=="} x'), (RANGE, '{"key":"YQ=="}{"key":"Yg=="}'),
    ]),
]  # fmt: skip
#: Debian 12 has etcd 3.4, whose JSON is that of an old library. Status 0 is no answer at all: it breaks down.
_OF_3_4: Rows = [
    ("ProtoJSON: both base64 alphabets are read, padded or not", 400, 200, [
        (RANGE, '{"key":"YQ"}'), (RANGE, '{"key":"_-8="}'),
    ]),
    ("RFC 4648, section 3.3: what is not in the alphabet is refused", 200, 400, [(RANGE, '{"key":"YQ==\\n"}')]),
    ("ProtoJSON: trailing zeros and exponents are read where the value is whole", 400, 200, [
        (RANGE, '{"key":"YQ==","limit":1.0}'), (RANGE, '{"key":"YQ==","limit":1e0}'),
        (RANGE, '{"key":"YQ==","limit":"1.0"}'),
    ]),
    ("ProtoJSON: a number in a string is a number, without spaces", 200, 400, [(RANGE, '{"key":"YQ==","limit":" 1"}')]),
    ("protobuf's json_format reads an enum's number as text, too", 400, 200, [
        (RANGE, '{"key":"YQ==","sort_order":"2"}'),
    ]),
    ("RFC 8259, section 4, and ProtoJSON: a field is given once, in either spelling", 200, 400, [
        (RANGE, '{"key":"YQ==","rangeEnd":"Yg==","range_end":"Yw=="}'), (RANGE, '{"key":"YQ==","key":"Yg=="}'),
    ]),
    # Theirs takes one of them by chance, so both must leave the store alone.
    ("ProtoJSON: one member of a oneof is given", 200, 400, [
        _txn('{"success":[{"request_range":{"key":"KERN"},"request_delete_range":{"key":"MQ=="}}]}'),
    ]),
    ("ProtoJSON: null is no item of a list", 0, 400, [(TXN, '{"success":[null]}')]),
    ("google/rpc/code.proto: FAILED_PRECONDITION is 400, not 412", 412, 400, [
        ("/v3/auth/role/add", '{"name":"clerk"}'), ("/v3/auth/user/get", '{"name":"nobody"}'),
        ("/v3/lease/grant", '{"ID":"77","TTL":"60"}'), ("/v3/auth/enable", "{}"),
        ("/v3/maintenance/transfer-leadership", '{"targetID":"5"}'),
    ]),
    ("the proto here is of etcd 3.5: etcd 3.4 has this without a path", 404, 200, [("/v3/maintenance/hashkv", "{}")]),
    ("the proto here is of etcd 3.5: etcd 3.4 does not have this", 404, 501, [("/v3/auth/status", "{}")]),
]  # fmt: skip
#: Debian 13 has etcd 3.5: it reads JSON by protobuf's own library, told to pass over what it does not know.
_OF_3_5: Rows = [
    ("ProtoJSON: parsers refuse unknown names of an enum by default", 200, 400, [
        (RANGE, '{"key":"YQ==","sort_order":"descend"}'),
        ("/v3/auth/role/grant", f'{{"name":"clerk","perm":{{"permType":"READWRIT","key":"{KERN}"}}}}'),
    ]),
]  # fmt: skip


def differences(version: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Request -> the status of etcd's own gateway, and of ours. All else has the same status, and the same answer.

    :param version: etcd's, such as ``3.5.16``.
    """
    old = version.startswith("3.4.")
    rows = [*_OF_ALL, *(_OF_3_4 if old else _OF_3_5)]
    return {request: (theirs, ours) for _, theirs, ours, requests in rows for request in requests}
