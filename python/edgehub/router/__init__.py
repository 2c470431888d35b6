"""The route language of IoT Edge as a library: which messages go where, and why.

A router is made of the routes as the `$edgeHub` twin declares them; it is told messages and answers with
the endpoints they go to:

>>> from edgehub.router import Router
>>> router = Router(
...     {
...         "up": "FROM /messages/* INTO $upstream",
...         "hot": "FROM /messages/modules/sensor/* WHERE as_number(temp) > 30 "
...         'INTO BrokeredEndpoint("/modules/alarm/inputs/hot")',
...     },
...     edge_device_id="gateway-7",
... )
>>> message = {"source": "/messages/modules/sensor/outputs/t", "properties": {"temp": "31.5"}}
>>> [delivery.endpoint for delivery in router.match(message)]
['iothub', 'gateway-7/alarm/hot']

A **message** is a mapping. Every key may be left out:

| key | value |
|---|---|
| `source` | path such as `/messages/modules/{module}/outputs/{output}`; `/messages/` if left out |
| `systemProperties` | names without `$` to strings, such as `{"contentType": "application/json"}` |
| `properties` | names to strings, or to None for a property that holds no text |
| `body` | `str` (as UTF-8) or `bytes` |
| `bodyBase64` | base64 instead of `body` |

**Many messages** are matched in one call, on all cores if several threads do so: the GIL is released.
Messages that are matched more than once, or that come from elsewhere, may be encoded before:

>>> cold, hot = {"properties": {"temp": "3"}}, message
>>> [len(deliveries) for deliveries in router.match_many([cold, hot])]
[1, 2]
>>> from edgehub.router import encode_many
>>> [len(deliveries) for deliveries in router.match_encoded(encode_many([cold, hot]))]
[1, 2]

**Why** a message goes where it goes, or does not:

>>> print(router.explain({"source": "/messages/modules/sensor", "properties": {"temp": "25"}}))
message from /messages/modules/sensor/
  body: not looked at
  goes to:
    iothub  by route 'up', default priority, time to live of the hub
<BLANKLINE>
route 'up': chosen
  source:    /messages/* (matches)
  endpoint:  iothub, default priority, time to live of the hub
  condition: none, takes every message
<BLANKLINE>
route 'hot': no match, the condition does not hold
  source:    /messages/modules/sensor/* (matches)
  endpoint:  gateway-7/alarm/hot, default priority, time to live of the hub
  condition: false
    as_number(temp) > 30  false   <-- decides
      as_number(temp)     25
        temp              "25"
<BLANKLINE>

**Routes that are wrong** are refused as a whole, with every error and its place:

>>> from edgehub.router import RouteError
>>> try:
...     router.replace({"r": "FROM /messages/* WHERE temp > 30 INTO $upstream"})
... except RouteError as error:
...     fault = error.faults[0]
...     print(f"{fault.route} {fault.line}:{fault.column} {fault.message}")
...     print(fault.hint)
r 1:29 Invalid operands to binary operator '>': have 'string' and 'number', expected 'string' and 'string'
Properties are strings: compare with a quoted value, or convert with as_number(...).
>>> router.routes
('up', 'hot')
"""

from edgehub._core import (
    Condition,
    Delivery,
    Explanation,
    MessageError,
    Report,
    RouteError,
    RouteFault,
    Router,
    RouteReport,
    check,
    encode,
    encode_many,
)

__all__ = [
    "Condition",
    "Delivery",
    "Explanation",
    "MessageError",
    "Report",
    "RouteError",
    "RouteFault",
    "RouteReport",
    "Router",
    "check",
    "encode",
    "encode_many",
]
