"""Reads requests as a receiver of CloudEvents would, one JSON object a line: `contentType`, `body` (text) and `event`,
the hub event it must be of. Prints the number of events read; fails on the first that is not as it must be.

Argument: the CloudEvents project's JSON Schema.
"""

import json
import sys
from datetime import datetime, timezone

import jsonschema_rs
from cloudevents.core.bindings.http import HTTPMessage, from_http_event

with open(sys.argv[1], encoding="utf-8") as schema:
    validator = jsonschema_rs.Draft7Validator(json.load(schema), validate_formats=True)

# The check can fail: what the specification requires, and the form of a date.
for wrong in ({"id": "1", "source": "/a", "specversion": "1.0"},
              {"id": "1", "source": "/a", "specversion": "1.0", "type": "t", "time": "yesterday"}):
    assert not validator.is_valid(wrong), wrong

count = 0
for line in sys.stdin:
    request = json.loads(line)
    event, body = request["event"], request["body"]
    validator.validate(json.loads(body))
    read = from_http_event(HTTPMessage(headers={"content-type": request["contentType"]}, body=body.encode()))
    assert read.get_specversion() == "1.0"
    assert read.get_id() == event["id"], read.get_id()
    assert read.get_source() == "/channels/" + event["channelId"], read.get_source()
    assert read.get_type() == "com.fanfare.hub." + event["type"].lower(), read.get_type()
    assert read.get_datacontenttype() == "application/json"
    assert read.get_data() == event["payload"], read.get_data()
    if "occurredAt" in event:
        seconds, ms = divmod(event["occurredAt"], 1000)
        expected = datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=ms * 1000)
        assert read.get_time() == expected, read.get_time()
    message = event["payload"].get("message")
    if message:
        customer = message["recipient" if message["metadata"]["from_me"] else "sender"]["identifier"]
    else:
        customer = event["payload"]["event"].get("identifier")
    assert read.get_subject() == customer, (read.get_subject(), customer)
    count += 1
print(count)
