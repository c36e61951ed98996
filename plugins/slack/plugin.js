// SLACK: what happens on a channel, as messages of a Slack incoming webhook. The interface is `wit/v1/format.wit`; the
// mapping and the settings are in README.md.
import manifest from "./manifest.json";
import { invalid, plugin, skip } from "../templates/js/fanfare.js";

const KINDS = ["MESSAGE_RECEIVED", "MESSAGE_STATUS", "CONNECTED", "DISCONNECTED", "BLOCK"];

// Slack's limits, in characters and in blocks.
const SECTION_MAX = 3000;
const BLOCKS_MAX = 50;
// Of the text for notifications; Slack cuts off more.
const TEXT_MAX = 4000;
// Of a name or an identifier: they stand in headings.
const NAME_MAX = 150;

let settings;

// ---- Text ----

/** Ends a text after at most `max` UTF-16 units, as Slack counts, and never within a character. */
function cut(text, max) {
  if (text.length <= max) return text;
  let end = max - 1;
  const last = text.charCodeAt(end - 1);
  if (last >= 0xd800 && last < 0xdc00) end -= 1;
  return text.slice(0, end) + "…";
}

/** `&`, `<` and `>` are all that mrkdwn reads as markup of its own: `<!channel>` of a customer must call nobody. */
function escape(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

/** `cut` for what is escaped: an escape at the end is left out as a whole. */
function clip(escaped, max) {
  return escaped.length <= max ? escaped : cut(escaped, max).replace(/&[a-z]{0,3}…$/, "…");
}

/** Escaped and at most `max` long. */
function mrkdwn(text, max) {
  return clip(escape(cut(text, max)), max);
}

/** What somebody wrote, line by line as a quotation; `max` counts the marks too. */
function quote(text, max) {
  return clip(">" + mrkdwn(text, max).replace(/\r\n?|\n/g, "\n>"), max);
}

function text(value) {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

/** A name in bold, or in plain type what would end the bold. One line. */
function bold(name) {
  const line = mrkdwn(name.replace(/\s+/g, " ").trim(), NAME_MAX);
  return /[*_~`]/.test(line) ? line : `*${line}*`;
}

/** A link when it is one that a browser opens, else the label alone. */
function link(url, label) {
  const shown = typeof url === "string" && /^https?:\/\/[^\s|<>"]+$/.test(url) ? escape(url) : "";
  return shown && shown.length <= 2000 ? `<${shown}|${escape(label)}>` : escape(label);
}

// ---- What a message holds ----

/** One line for notifications (plain) and sections (mrkdwn) for each item. */
function item(item) {
  const kind = text(item.type) || "UNKNOWN";
  const words = (text) => ({ plain: text, sections: text ? [quote(text, SECTION_MAX)] : [] });
  const media = (label) => {
    const shown = link(item.url, label);
    const caption = text(item.caption);
    const plain = caption ? `${label}: ${caption}` : label;
    return { plain, sections: caption ? [shown, quote(caption, SECTION_MAX)] : [shown] };
  };
  const buttons = () =>
    list(item.buttons).map((button) => `[${mrkdwn(text(button.title), NAME_MAX)}]`).join(" ");
  switch (kind) {
    case "TEXT":
      return words(text(item.message));
    case "IMAGE":
      return media("image");
    case "AUDIO":
      return media("audio");
    case "VIDEO":
      return media("video");
    case "STICKER":
      return media("sticker");
    case "DOCUMENT":
      return media(cut(`document ${text(item.file_name) || text(item.name)}`.trim(), NAME_MAX));
    case "LOCATION": {
      const [latitude, longitude] = [Number(item.latitude), Number(item.longitude)];
      const place = cut([text(item.name), text(item.address)].filter(Boolean).join(", "), 1000);
      const plain = place ? `location: ${place}` : "location";
      if (item.latitude == null || !Number.isFinite(latitude) || !Number.isFinite(longitude)) {
        return { plain, sections: [mrkdwn(plain, SECTION_MAX)] };
      }
      const map = `https://www.openstreetmap.org/?mlat=${latitude}&mlon=${longitude}`;
      return { plain, sections: [link(map, "location") + (place ? `: ${mrkdwn(place, 1000)}` : "")] };
    }
    case "CONTACT_ARRAY": {
      const lines = list(item.contacts).map((contact) => {
        const name = text(contact.name) || [contact.first_name, contact.last_name].map(text).join(" ").trim();
        return [name, ...list(contact.phones).map(text)].filter(Boolean).join(" ") || "someone";
      });
      return { plain: `contacts: ${lines.join(", ")}`, sections: ["contacts", quote(lines.join("\n"), SECTION_MAX)] };
    }
    case "REACTION": {
      const reaction = cut(text(item.reaction), 32);
      const plain = reaction ? `reacted with ${reaction}` : "took a reaction back";
      return { plain, sections: [escape(plain)] };
    }
    case "BUTTON_REPLY":
    case "LIST_REPLY": {
      const title = text(item.title) || text(item.id);
      const description = text(item.description);
      const chosen = description ? `${title}\n${description}` : title;
      return { plain: `chose: ${title}`, sections: ["chose", quote(chosen, SECTION_MAX)] };
    }
    case "INTERACTIVE_BUTTON":
    case "INTERACTIVE_ACTION": {
      const { plain, sections } = words(text(item.message));
      return { plain, sections: buttons() ? [...sections, clip(buttons(), SECTION_MAX)] : sections };
    }
    case "TEMPLATE": {
      const name = cut(text(item.template?.name), NAME_MAX);
      const { sections } = words(text(item.message));
      return { plain: `template ${name}`.trim(), sections: [`template ${escape(name)}`.trim(), ...sections] };
    }
    default: {
      const plain = `a message of kind ${cut(kind, NAME_MAX)}`;
      return { plain, sections: [escape(plain)] };
    }
  }
}

function list(value) {
  return Array.isArray(value) ? value.filter((item) => item !== null && item !== undefined) : [];
}

function items(message) {
  const all = [...list(message.contents), ...list(message.attachments)];
  return all.filter((item) => typeof item === "object" && !Array.isArray(item));
}

/** `Marina Prado (5531977110099)`, plain and in mrkdwn. */
function party(party) {
  const identifier = cut(text(party?.identifier), NAME_MAX);
  const name = cut(text(party?.name), NAME_MAX);
  if (!name || name === identifier) return { plain: identifier || "someone", shown: bold(identifier || "someone") };
  if (!identifier) return { plain: name, shown: bold(name) };
  return { plain: `${name} (${identifier})`, shown: `${bold(name)} (${mrkdwn(identifier, NAME_MAX)})` };
}

// ---- Kinds of events ----

function received(message) {
  const isOurs = message.metadata?.from_me === true;
  if (isOurs && !settings.outgoing) throw skip("sent_by_us");
  const who = party(isOurs ? message.recipient : message.sender);
  const parts = items(message).map(item);
  if (parts.length === 0) parts.push({ plain: "an empty message", sections: ["an empty message"] });
  const to = isOurs ? "to " : "";
  return {
    plain: `${to}${who.plain}: ${parts.map((part) => part.plain).filter(Boolean).join("; ")}`,
    sections: [
      `${isOurs ? ":outbox_tray: to" : ":speech_balloon:"} ${who.shown}`,
      ...parts.flatMap((part) => part.sections),
    ],
  };
}

function status(message) {
  const states = items(message).flatMap((item) => list(item.state_items));
  const last = states[states.length - 1];
  const state = text(last?.state?.name).toUpperCase();
  if (!state) throw skip("no_state");
  if (!settings.states.includes(state)) throw skip("state_not_chosen");
  const isOurs = message.metadata?.from_me !== false;
  const who = party(isOurs ? message.recipient : message.sender);
  const why = [text(last.error), text(last.error_code) && `(${text(last.error_code)})`].filter(Boolean).join(" ");
  const word = cut(state.toLowerCase(), NAME_MAX);
  const what = cut(items(message).map((one) => item(one).plain).filter(Boolean).join("; "), 500);
  const mark = state === "FAILED" ? ":warning:" : ":information_source:";
  return {
    plain: `message to ${who.plain} ${word}${why ? `: ${why}` : ""}`,
    sections: [
      `${mark} message to ${who.shown} *${escape(word)}*${why ? `: ${mrkdwn(why, 1000)}` : ""}`,
      ...(what ? [quote(what, SECTION_MAX)] : []),
    ],
  };
}

function channel(kind, event) {
  const phone = cut(text(event.phone), NAME_MAX);
  switch (kind) {
    case "CONNECTED": {
      const plain = `channel connected${phone ? ` (${phone})` : ""}`;
      return { plain, sections: [`:large_green_circle: ${escape(plain)}`] };
    }
    case "DISCONNECTED": {
      const reason = cut(text(event.reason), 1000);
      const plain = `channel disconnected${reason ? `: ${reason}` : ""}`;
      return { plain, sections: [`:red_circle: ${mrkdwn(plain, SECTION_MAX)}`] };
    }
    case "BLOCK": {
      const who = party(event);
      const word = event.blocked === false ? "unblocked" : "blocked";
      return { plain: `${who.plain} ${word}`, sections: [`:no_entry: ${who.shown} ${word}`] };
    }
    case "PRESENCE_CHAT": {
      const who = party(event);
      const presence = cut(text(event.presence).toLowerCase() || "present", NAME_MAX);
      return { plain: `${who.plain} is ${presence}`, sections: [`${who.shown} is ${escape(presence)}`] };
    }
    default:
      return { plain: "first data of the channel", sections: ["first data of the channel"] };
  }
}

function render(event) {
  if (typeof event.type !== "string") throw invalid("the event has no type");
  if (event.payload === null || typeof event.payload !== "object") throw invalid("the event has no payload");
  if (!settings.kinds.includes(event.type)) throw skip("kind_not_chosen");
  const payload = event.payload;
  const { plain, sections } = payload?.message
    ? event.type === "MESSAGE_RECEIVED" ? received(payload.message) : status(payload.message)
    : channel(event.type, payload?.event ?? {});

  // One block is kept for the last line.
  const shown = sections.slice(0, BLOCKS_MAX - 1);
  if (shown.length < sections.length) {
    shown.pop();
    shown.push(`… and ${sections.length - shown.length} more`);
  }
  const blocks = shown.map((text) => ({ type: "section", text: { type: "mrkdwn", text: clip(text, SECTION_MAX) } }));
  const name = settings.channels[event.channelId] ?? text(event.channelId);
  const where = [mrkdwn(name, NAME_MAX), when(event.occurredAt)].filter(Boolean).join(" · ");
  blocks.push({ type: "context", elements: [{ type: "mrkdwn", text: where }] });
  return { text: mrkdwn(plain.replace(/\s+/g, " "), TEXT_MAX), blocks, unfurl_links: false, unfurl_media: false };
}

/** Slack shows it in each reader's own time zone; there is no clock here, only what the event says. */
function when(moment) {
  if (!Number.isSafeInteger(moment) || moment < 0 || moment > 253402300799999) return "";
  const fallback = new Date(moment).toISOString().replace("T", " ").slice(0, 16) + " UTC";
  return `<!date^${Math.floor(moment / 1000)}^{date_short_pretty} {time}|${fallback}>`;
}

// ---- The interface ----

export const format = plugin({
  manifest,

  configure(given) {
    settings = {
      kinds: given.kinds ?? KINDS,
      states: given.states ?? ["FAILED"],
      outgoing: given.outgoing ?? false,
      // Without a prototype: a channel may be named as a member of one.
      channels: Object.assign(Object.create(null), given.channels),
    };
  },

  render,
});
