// A case that fails while it has replaced the timers leaves them replaced, and all cases after it fail too.

"use strict";

exports.mochaHooks = {
  afterEach() {
    globalThis.setTimeout.clock?.uninstall();
  },
};
