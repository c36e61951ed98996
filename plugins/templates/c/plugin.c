/* __NAME__: hub events as this receiver wants them. */
#include "fanfare_plugin.h"

FF_PLUGIN("__NAME__", "0.1.0", "application/json")

/* A JSON string, as the settings have it. */
static ff_text source = FF("\"fanfare\"");

ff_text ff_configure(ff_text settings) {
    ff_text given = ff_member(settings, "source");
    if (given.at) source = given;
    return FF_OK;
}

ff_answer ff_render(ff_text event) {
    static const char *const names[] = {"id", "type", "channelId", "payload"};
    enum { ID, TYPE, CHANNEL, PAYLOAD, COUNT };
    ff_text value[COUNT];
    if (!ff_members(event, COUNT, names, value)) return ff_invalid(FF("the event is not a JSON object"));
    for (int i = 0; i < COUNT; i++)
        if (!value[i].at) return ff_invalid(FF("the event lacks a member"));
    if (ff_is(value[TYPE], "PRESENCE_CHAT")) return ff_skip(FF("not_wanted"));

    ff_body *body = ff_new_body();
    ff_put(body, FF("{\"id\":"));
    ff_put(body, value[ID]);
    ff_put(body, FF(",\"source\":"));
    ff_put(body, source);
    ff_put(body, FF(",\"kind\":"));
    ff_put(body, value[TYPE]);
    ff_put(body, FF(",\"channel\":"));
    ff_put(body, value[CHANNEL]);
    ff_put(body, FF(",\"data\":"));
    ff_put(body, value[PAYLOAD]);
    ff_put(body, FF("}"));
    return ff_done();
}
