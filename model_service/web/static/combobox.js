/**
 * An input to find a zone by name: the editable combobox of the ARIA Authoring Practices.
 * A text that matches no zone stays in the input, with an error, until the rider changes it.
 */

import { matches } from "./zones.js";

/** @typedef {import("./zones.js").Zone} Zone */
/** @typedef {import("./zones.js").Match} Match */

const NOT_FOUND =
  "We don’t know this place. Try a neighborhood or a landmark, or choose on the map. We cover New York City and Newark Airport.";

/**
 * @param {HTMLInputElement} input of role combobox
 * @param {object} given
 * @param {Zone[]} given.zones
 * @param {(zone: Zone | null) => void} given.onChoice
 * @param {(text: string) => void} given.announce to screen readers
 */
export function createCombobox(input, { zones, onChoice, announce }) {
  const list = /** @type {HTMLElement} */ (input.parentElement?.querySelector("[role=listbox]"));
  /** @type {Zone | null} */
  let chosen = null;
  let unmatched = ""; // the text in the input, if it matches no zone
  /** @type {Match[]} */
  let found = [];
  let active = -1;

  /** @param {Match[]} options */
  function open(options) {
    found = options;
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = NOT_FOUND;
    list.replaceChildren(...found.map(option));
    if (found.length === 0) list.replaceChildren(none);
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    list.scrollTop = 0;
  }

  function close() {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    move(-1);
  }

  /**
   * @param {Match} match
   * @param {number} index
   */
  function option({ zone, otherName }, index) {
    const item = document.createElement("li");
    item.id = `${list.id}-${index}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(zone === chosen));
    const borough = document.createElement("span");
    borough.textContent = otherName ? `${otherName} · ${zone.borough}` : zone.borough;
    item.append(zone.name, " ", borough);
    item.addEventListener("click", () => choose(zone));
    return item;
  }

  /** @param {number} index or -1 for none */
  function move(index) {
    list.children[active]?.classList.remove("active");
    active = index;
    const item = index < 0 ? undefined : list.children[index];
    if (!item) return input.removeAttribute("aria-activedescendant");
    item.classList.add("active");
    item.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", item.id);
  }

  /**
   * @param {Zone | null} zone
   * @param {string} [text] that matches no zone
   */
  function choose(zone, text = "") {
    unmatched = text;
    show(zone);
    close();
    onChoice(zone);
  }

  /**
   * Shows a zone; if there is none, the text that matches no zone.
   * @param {Zone | null} zone
   */
  function show(zone) {
    if (zone) unmatched = "";
    chosen = zone;
    input.value = zone?.name ?? unmatched;
  }

  /** Chooses the active option; if there is none, the text in the input matches no zone. */
  function accept() {
    if (list.hidden) return;
    if (active >= 0) choose(found[active].zone);
    else if (input.value === (chosen?.name ?? unmatched)) close();
    else choose(null, input.value.trim());
  }

  /** @type {Record<string, (event: KeyboardEvent) => void>} */
  const keys = {
    ArrowDown(event) {
      if (list.hidden) open(matches(zones, ""));
      if (!event.altKey) move(Math.min(active + 1, found.length - 1));
    },
    ArrowUp(event) {
      if (event.altKey) return close();
      if (list.hidden) open(matches(zones, ""));
      move(active <= 0 ? found.length - 1 : active - 1);
    },
    Enter: accept,
    Escape() {
      if (!list.hidden) {
        show(chosen);
        close();
      } else choose(null);
    },
  };

  input.addEventListener("keydown", (event) => {
    const act = keys[event.key];
    if (!act || event.isComposing) return;
    event.preventDefault();
    act(event);
  });
  input.addEventListener("input", () => {
    open(matches(zones, input.value));
    const typed = input.value.trim() !== "";
    move(typed && found.length > 0 ? 0 : -1);
    announce(found.length === 0 ? NOT_FOUND : found.length === 1 ? "1 zone" : `${found.length} zones`);
  });
  input.addEventListener("click", () => {
    input.select();
    if (list.hidden) open(matches(zones, ""));
  });
  input.addEventListener("blur", accept);
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus in the input

  return {
    show,
    /** Returns the error message for the input; empty if the input is valid. */
    error: () => (unmatched ? NOT_FOUND : ""),
  };
}
