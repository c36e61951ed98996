// __NAME__: hub events as this receiver wants them.
import manifest from "./manifest.json";
import { invalid, plugin, skip } from "./fanfare.js";

let source = "fanfare";

export const format = plugin({
  manifest,

  configure(settings) {
    if (settings.source !== undefined) source = settings.source;
  },

  render(event) {
    if (event.type === "PRESENCE_CHAT") throw skip("not_wanted");
    if (event.type === undefined || event.payload === undefined) throw invalid("the event has no type or no payload");
    return { id: event.id, source, kind: event.type, channel: event.channelId, data: event.payload };
  },
});
