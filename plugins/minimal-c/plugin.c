/* MINIMAL: the event without what only fanfare needs: who, what, where, and the hub's body as it came. */
#include "fanfare_plugin.h"

FF_PLUGIN("MINIMAL", "1.0.0", "application/json")

ff_text ff_configure(ff_text settings) {
    (void)settings; /* It has none. */
    return FF_OK;
}

ff_answer ff_render(ff_text event) {
    static const char *const names[] = {"id", "type", "channelId", "payload"};
    enum { ID, TYPE, CHANNEL, PAYLOAD, COUNT };
    ff_text value[COUNT];
    if (!ff_members(event, COUNT, names, value)) return ff_invalid(FF("the event is not a JSON object"));
    if (!value[TYPE].at || !value[CHANNEL].at || !value[PAYLOAD].at)
        return ff_invalid(FF("the event has no type, channelId or payload"));

    ff_body *body = ff_new_body();
    ff_put(body, FF("{\"id\":"));
    ff_put(body, value[ID].at ? value[ID] : FF("null"));
    ff_put(body, FF(",\"type\":"));
    ff_put(body, value[TYPE]);
    ff_put(body, FF(",\"channel\":"));
    ff_put(body, value[CHANNEL]);
    ff_put(body, FF(",\"payload\":"));
    ff_put(body, value[PAYLOAD]);
    ff_put(body, FF("}"));
    return ff_done();
}
