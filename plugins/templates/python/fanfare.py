"""What lies between the interface (wit/format.wit) and a format written in Python.

A format is a class named `Format` in plugin.py, below `Plugin`: `name`, `version` and `content_type` as in manifest.json,
`set_up(settings)` once on each instance, `form(event)` for each event. What `form` gives becomes JSON; a `Body`, or a list
of them, is sent as it is.

There is no clock, randomness, network or file. Keep nothing of one event for the next: the same event must give the same
bytes, whatever came before it.
"""

import json
import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.exports import format as interface

# Objects and arrays in one another: the parser calls itself, and its stack is small.
DEPTH_MAX = 200
TOKENS = re.compile(rb'[\[\]{}]|"(?:[^"\\]|\\.)*"', re.DOTALL)


class Skip(Exception):
    """The event has no form in this format: settled without sending. The reason is a word of a-z 0-9 _."""


class Invalid(Exception):
    """The event can never be rendered: a dead letter with this message."""


class Body:
    """A body that needs more than a value: another content type, headers by name."""

    def __init__(self, data, content_type=None, headers=None):
        self.data = data.encode() if isinstance(data, str) else bytes(data)
        self.content_type = content_type
        self.headers = dict(headers or {})


class Plugin(exports.Format):
    name = version = content_type = ""

    def set_up(self, settings):
        """Takes the operator's settings; an exception refuses them."""

    def form(self, event):
        """Gives the body of an event."""
        raise NotImplementedError

    # The interface.

    def describe(self):
        return interface.Description(self.name, self.version, self.content_type)

    def configure(self, settings):
        try:
            self.set_up(json.loads(settings))
        except Exception as error:
            raise Err(f"{type(error).__name__}: {error}") from None

    def render(self, event):
        try:
            given = self.form(read(event))
            bodies = given if isinstance(given, list) and all(isinstance(one, Body) for one in given) else [given]
            return [rendered(one) for one in bodies]
        except Skip as skip:
            raise Err(interface.Failure_Skip(str(skip))) from None
        except Invalid as invalid:
            raise Err(interface.Failure_Invalid(str(invalid))) from None
        except Exception as error:
            # Uncaught, it would end this instance without its text.
            raise Err(interface.Failure_Internal(f"{type(error).__name__}: {error}")) from None


def read(data):
    if data.count(b"[") + data.count(b"{") > DEPTH_MAX:
        check_depth(data)
    try:
        # As text: of bytes, `json` guesses an encoding and goes looking for a codec that is not inside.
        event = json.loads(data.decode())
    except ValueError as error:
        raise Invalid(f"the event cannot be read: {error}") from None
    if not isinstance(event, dict):
        raise Invalid("the event is not an object")
    return event


def check_depth(data):
    depth = 0
    for token in TOKENS.finditer(data):
        if token[0] in b"[{":
            depth += 1
            if depth > DEPTH_MAX:
                raise Invalid(f"the event is nested deeper than {DEPTH_MAX}")
        elif token[0] in b"]}":
            depth -= 1


def rendered(one):
    if not isinstance(one, Body):
        one = Body(encode(one))
    headers = [interface.Header(name, str(value)) for name, value in one.headers.items()]
    return interface.Rendered(one.data, one.content_type, headers)


def encode(value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, which only an escape can hold.
        return json.dumps(value, separators=(",", ":")).encode()
