// What lies between the interface (wit/format.wit) and a format written in JavaScript.
//
//     import manifest from "./manifest.json";
//     import { plugin, skip, invalid, body } from "./fanfare.js";
//     export const format = plugin({
//       manifest,                            // name, version and content type
//       configure(settings) {},              // once on each instance; an exception refuses the settings
//       render(event) { return {...} },      // each event: a value that becomes JSON, or body(...), or an array of body(...)
//     });
//
// The engine is QuickJS without a clock, randomness, network or files. Keep nothing of one event for the next: the same
// event must give the same bytes, whatever came before it.

/** The event has no form in this format: settled without sending. `throw skip("word")`; the reason is a word of a-z 0-9 _. */
export const skip = (reason) => ({ tag: "skip", val: reason });
/** The event can never be rendered: a dead letter with this message. `throw invalid("message")`. */
export const invalid = (message) => ({ tag: "invalid", val: message });
/** The fault is the plugin's: tried again later, on a fresh instance. An exception of the engine becomes this too. */
export const internal = (message) => ({ tag: "internal", val: message });

/** A body that needs more than a value: `bytes` a string or a Uint8Array, another content type, headers by name. */
export function body(bytes, { contentType, headers = {} } = {}) {
  return new Body(typeof bytes === "string" ? encode(bytes) : bytes, contentType, headers);
}

/** Objects and arrays in one another: the engine's parser calls itself, and its stack is small. */
const DEPTH_MAX = 200;

class Body {
  constructor(bytes, contentType, headers) {
    this.body = bytes;
    this.contentType = contentType;
    this.headers = Object.entries(headers).map(([name, value]) => ({ name, value: String(value) }));
  }
}

export function plugin({ manifest, configure, render }) {
  return {
    describe: () => ({ name: manifest.name, version: manifest.version, contentType: manifest.contentType }),

    configure(settings) {
      try {
        configure?.(JSON.parse(settings));
      } catch (error) {
        throw error instanceof Error ? error.message : String(error);
      }
    },

    render(bytes) {
      const event = read(bytes);
      try {
        const given = render(event);
        const bodies = Array.isArray(given) && given.every((one) => one instanceof Body) ? given : [given];
        return bodies.map((one) => (one instanceof Body ? one : body(JSON.stringify(one))));
      } catch (error) {
        // Uncaught, it would end this instance without its text.
        throw error instanceof Error ? internal(`${error}`) : error;
      }
    },
  };
}

function read(bytes) {
  let event;
  try {
    const text = decode(bytes);
    check(text);
    event = JSON.parse(text);
  } catch (error) {
    throw invalid(`the event cannot be read: ${error.message}`);
  }
  if (event === null || typeof event !== "object" || Array.isArray(event)) throw invalid("the event is not an object");
  return event;
}

/** Refuses what is nested too deeply. Only a text with that many brackets is looked through one by one. */
function check(text) {
  if (text.split("[").length + text.split("{").length <= DEPTH_MAX) return;
  let depth = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const unit = text[at];
    if (isInString) {
      if (unit === "\\") at += 1;
      else if (unit === '"') isInString = false;
    } else if (unit === '"') {
      isInString = true;
    } else if (unit === "[" || unit === "{") {
      depth += 1;
      if (depth > DEPTH_MAX) throw new Error(`nested deeper than ${DEPTH_MAX}`);
    } else if (unit === "]" || unit === "}") {
      depth -= 1;
    }
  }
}

// ---- UTF-8, which QuickJS does not bring ----

/** Characters made at once. */
const CHUNK = 4096;

/** The text of these bytes. Throws at what is not UTF-8. */
export function decode(bytes) {
  let text = "";
  const units = [];
  const size = bytes.length;
  for (let at = 0; at < size; ) {
    const first = bytes[at++];
    if (first < 0x80) {
      units.push(first);
    } else {
      const more = first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
      if (first < 0xc2 || first > 0xf4 || at + more > size) throw new Error("not UTF-8");
      let code = first & (0x3f >> more);
      for (const end = at + more; at < end; at++) {
        if ((bytes[at] & 0xc0) !== 0x80) throw new Error("not UTF-8");
        code = (code << 6) | (bytes[at] & 0x3f);
      }
      const least = more === 3 ? 0x10000 : more === 2 ? 0x800 : 0x80;
      if (code < least || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) throw new Error("not UTF-8");
      if (code < 0x10000) units.push(code);
      else units.push(0xd7c0 + (code >> 10), 0xdc00 | (code & 0x3ff));
    }
    if (units.length >= CHUNK) {
      text += String.fromCharCode.apply(null, units);
      units.length = 0;
    }
  }
  return text + String.fromCharCode.apply(null, units);
}

/** The bytes of this text. Half of a surrogate pair becomes U+FFFD, as in the standard. */
export function encode(text) {
  const bytes = new Uint8Array(text.length * 3);
  let to = 0;
  for (let at = 0; at < text.length; at++) {
    let code = text.charCodeAt(at);
    if (code < 0x80) {
      bytes[to++] = code;
      continue;
    }
    if (code >= 0xd800 && code < 0xe000) {
      const low = code < 0xdc00 && at + 1 < text.length ? text.charCodeAt(at + 1) : 0;
      const isPair = low >= 0xdc00 && low < 0xe000;
      code = isPair ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
      if (isPair) at++;
    }
    if (code < 0x800) {
      bytes[to++] = 0xc0 | (code >> 6);
    } else {
      if (code < 0x10000) {
        bytes[to++] = 0xe0 | (code >> 12);
      } else {
        bytes[to++] = 0xf0 | (code >> 18);
        bytes[to++] = 0x80 | ((code >> 12) & 0x3f);
      }
      bytes[to++] = 0x80 | ((code >> 6) & 0x3f);
    }
    bytes[to++] = 0x80 | (code & 0x3f);
  }
  return bytes.slice(0, to);
}
