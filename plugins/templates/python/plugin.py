"""__NAME__: hub events as this receiver wants them."""

from fanfare import Invalid, Plugin, Skip


class Format(Plugin):
    name = "__NAME__"
    version = "0.1.0"
    content_type = "application/json"

    source = "fanfare"

    def set_up(self, settings):
        self.source = settings.get("source", self.source)

    def form(self, event):
        if event.get("type") == "PRESENCE_CHAT":
            raise Skip("not_wanted")
        for member in ("id", "type", "channelId", "payload"):
            if member not in event:
                raise Invalid(f"the event has no {member}")
        return {
            "id": event["id"],
            "source": self.source,
            "kind": event["type"],
            "channel": event["channelId"],
            "data": event["payload"],
        }
