// Everything works without this. With it, moments are shown in the zone of who reads, tables are sorted where they are,
// what changes by itself is asked for again, secrets can be copied, and leaving a page that shows them asks first.
"use strict";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const local = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" });

function away(at) {
  const seconds = Math.round((at - Date.now()) / 1000), gap = Math.abs(seconds);
  if (gap < 5) return "now";
  const length = gap < 120 ? `${gap} s` : gap < 7200 ? `${Math.floor(gap / 60)} min`
    : gap < 172800 ? `${Math.floor(gap / 3600)} h` : `${Math.floor(gap / 86400)} days`;
  return seconds > 0 ? `in ${length}` : `${length} ago`;
}

function showTimes(within) {
  for (const time of within.querySelectorAll("time")) {
    const at = Date.parse(time.dateTime);
    if (Number.isNaN(at)) continue;
    if (!time.dataset.utc) {
      time.dataset.utc = time.textContent;
      time.title = `${time.textContent} (UTC)`;
      time.textContent = local.format(at);
      if (!time.closest("a, figure")) {
        const note = document.createElement("span");
        note.className = "away";
        time.after(" ", note);
      }
    }
    const note = time.nextElementSibling;
    if (note?.className === "away") note.textContent = away(at);
  }
}

function sortKey(cell) {
  const time = cell.querySelector("time");
  if (time) return Date.parse(time.dateTime);
  const text = cell.textContent.trim();
  return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text.toLowerCase();
}

function sortBy(table, column, head) {
  const down = head.getAttribute("aria-sort") === "ascending", body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [sortKey(row.cells[column]), row]);
  const rank = (key) => (key === "" ? 2 : typeof key === "number" ? 0 : 1);
  rows.sort(([one], [other]) => rank(one) - rank(other)
    || (down ? -1 : 1) * (typeof one === "number" ? one - other : one.localeCompare(other)));
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  body.append(...rows.map(([, row]) => row));
}

function makeSortable(within) {
  for (const table of within.querySelectorAll("table[data-sortable]")) {
    if (table.tBodies[0].rows.length < 2 || table.querySelector("th button")) continue;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sortBy(table, column, head));
      head.replaceChildren(button);
    });
  }
}

function enhance(within) {
  showTimes(within);
  makeSortable(within);
  for (const button of within.querySelectorAll("[data-copy][hidden]")) {
    const field = button.parentElement.querySelector("input");
    button.hidden = false;
    button.addEventListener("click", async () => {
      field.select();
      try {
        await navigator.clipboard.writeText(field.value);
        button.textContent = "Copied";
      } catch {
        button.textContent = "Selected: press Ctrl+C";
      }
    });
  }
}

enhance(document);
document.addEventListener("htmx:load", (event) => enhance(event.target));
const footer = document.querySelector("[data-zone]");
if (footer) footer.textContent = `Times are in your zone, ${zone}; the schedule's own are where it is drawn. Point at one for UTC.`;
setInterval(() => showTimes(document), 20000);

// What changes by itself, while somebody looks at it and works on nothing there.
setInterval(() => {
  const main = document.querySelector("[data-live]");
  if (main && !document.hidden && !main.querySelector(":focus, details[open]")) htmx.trigger(main, "refresh");
}, 15000);

if (document.querySelector("[data-once]")) {
  let leaving = false;
  document.addEventListener("submit", (event) => { leaving = !event.target.action.endsWith("/env"); });
  window.addEventListener("beforeunload", (event) => { if (!leaving) event.preventDefault(); });
}

// The audit trail as it goes on: while it is paused rows are held, and beyond what there is room for counted only.
const tail = document.querySelector("[data-tail]");
if (tail) {
  const shown = 200, body = tail.querySelector("tbody"), told = tail.querySelector("[data-told]");
  let paused = false, held = [], dropped = 0;
  const tell = (text) => { told.textContent = text + (dropped ? `; ${dropped} rows were left out` : ""); };
  const show = (rows) => {
    for (const [id, at, ...rest] of rows) {
      const row = document.createElement("tr"), link = document.createElement("a"), time = document.createElement("time");
      link.href = `/audit/${id}`;
      time.dateTime = at.replace(" ", "T");
      time.textContent = at;
      link.append(time);
      row.insertCell().append(link);
      for (const text of rest) {
        const cell = row.insertCell();
        cell.textContent = text;
        if (text === "denied") cell.className = "bad";
      }
      showTimes(row);
      body.prepend(row);
    }
    while (body.rows.length > shown) body.lastElementChild.remove();
  };
  tail.hidden = false;
  const source = new EventSource(tail.dataset.tail);
  source.addEventListener("rows", (event) => {
    const news = JSON.parse(event.data);
    dropped += news.dropped;
    if (paused) {
      held.push(...news.rows);
      const over = Math.max(0, held.length - shown);
      held.splice(0, over);
      dropped += over;
      tell(`Paused; ${held.length} rows are waiting`);
    } else {
      show(news.rows);
      tell("Following");
    }
  });
  source.addEventListener("over", (event) => { source.close(); tell(`Over: ${event.data}`); });
  source.addEventListener("error", () => tell("Not connected; trying again"));
  source.addEventListener("open", () => tell("Following"));
  tail.querySelector("[data-pause]").addEventListener("click", (event) => {
    paused = !paused;
    event.target.textContent = paused ? "Go on" : "Pause";
    if (!paused) { show(held); held = []; }
    tell(paused ? "Paused; 0 rows are waiting" : "Following");
  });
}

// What a link of an administrator brings behind the # goes into the form, and out of the address and the history.
if (location.pathname === "/sign-in/first" && location.hash.length > 1) {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const field = document.querySelector(`form[action="/sign-in"] input[name="${CSS.escape(name)}"]`);
    if (field) field.value = value;
  }
  history.replaceState(null, "", location.pathname);
}
