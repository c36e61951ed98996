"""What schemathesis changes in the calls it makes up (see openapi.rs), in words that JSON Schema has none for:
every URL that a webhook may have points to this machine, so that no traffic leaves it; a name that a payload format may
have is one that is loaded; a secret's overlap comes with a new secret; an integer is written as one; a list begins at
its start, for a cursor can only be one that it gave."""

import os
import re

import schemathesis
from hypothesis import strategies

RECEIVER = os.environ["RECEIVER_URL"]
URL = re.compile(r"[Hh][Tt][Tt][Pp][Ss]?://[^\x00-\x20\x7f\\]+")
FORMAT = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
CURSOR = re.compile(r"[A-Za-z0-9_-]+")


# None is a plugin, and the first four bytes make one look like it.
schemathesis.openapi.media_type(
    "application/wasm", strategies.binary(max_size=64) | strategies.binary(max_size=64).map(lambda rest: b"\0asm" + rest)
)


def integers(value):
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**64:
        return int(value)
    if isinstance(value, list):
        return [integers(item) for item in value]
    if isinstance(value, dict):
        return {name: integers(item) for name, item in value.items()}
    return value


@schemathesis.hook
def before_call(context, case, kwargs):
    cursor = (case.query or {}).get("cursor")
    if isinstance(cursor, str) and CURSOR.fullmatch(cursor):
        del case.query["cursor"]
    if not isinstance(case.body, (dict, list)):
        return
    body = case.body = integers(case.body)
    if isinstance(body, list):
        return
    url, name = body.get("url"), body.get("payloadFormat")
    if isinstance(url, str) and URL.fullmatch(url):
        body["url"] = RECEIVER
    if isinstance(name, str) and FORMAT.fullmatch(name):
        body["payloadFormat"] = "DEFAULT"
    if isinstance(body.get("secretOverlapSeconds"), int) and body.get("signing", False) is False:
        body["signing"] = True
