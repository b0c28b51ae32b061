// Brings the parts of a page that are marked data-live up to date when the station says that
// something has changed. Everything works without it; a part with a form in use is left alone.
"use strict";
// What is to be typed elsewhere can be copied.
(() => {
  if (!navigator.clipboard) return;
  for (const text of document.querySelectorAll("pre")) {
    const copy = document.createElement("button");
    copy.className = "plain";
    copy.textContent = "Copy";
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText(text.textContent);
      copy.textContent = "Copied";
    });
    text.before(copy);
  }
})();
(() => {
  const parts = () => document.querySelectorAll("[data-live]");
  if (!parts().length || !window.EventSource) return;
  const state = document.getElementById("connection");
  let busy = false;
  let again = false;
  const refresh = async () => {
    if (document.hidden) { again = true; return; }
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { headers: { "X-Outband-Refresh": "1" } });
      if (answer.redirected) { location.assign(answer.url); return; }
      if (!answer.ok) return;
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const part of parts()) {
        if (part.querySelector("form:focus-within")) continue;
        const next = fresh.getElementById(part.id);
        if (next && next.innerHTML !== part.innerHTML) {
          part.replaceChildren(...next.childNodes);
        }
      }
    } catch (_) {
      // The station is away; the event source says so and tries again.
    } finally {
      busy = false;
      if (again && !document.hidden) { again = false; refresh(); }
    }
  };
  const follow = () => {
    const source = new EventSource("/live");
    source.addEventListener("changed", refresh);
    source.addEventListener("open", () => { if (state) state.textContent = "live"; });
    source.addEventListener("error", () => {
      if (state) state.textContent = "the station does not answer";
      if (source.readyState !== EventSource.CLOSED) return;
      // It answered, and not with news: of a station that was restarted this leads to the login.
      refresh();
      setTimeout(follow, 5000);
    });
  };
  follow();
  document.addEventListener("visibilitychange", () => { if (!document.hidden && again) { again = false; refresh(); } });
})();
