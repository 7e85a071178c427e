/** An input to find a zone by name: the editable combobox of the ARIA Authoring Practices. */

import { matches } from "./zones.js";

/** @typedef {import("./zones.js").Zone} Zone */

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
  /** @type {Zone[]} */
  let found = [];
  let active = -1;

  /** @param {Zone[]} options */
  function open(options) {
    found = options;
    const none = document.createElement("li");
    none.className = "none";
    none.textContent = "No matching zone. We cover New York City and Newark Airport.";
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
   * @param {Zone} zone
   * @param {number} index
   */
  function option(zone, index) {
    const item = document.createElement("li");
    item.id = `${list.id}-${index}`;
    item.setAttribute("role", "option");
    item.setAttribute("aria-selected", String(zone === chosen));
    const borough = document.createElement("span");
    borough.textContent = zone.borough;
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

  /** @param {Zone | null} zone */
  function choose(zone) {
    show(zone);
    close();
    onChoice(zone);
  }

  /** @param {Zone | null} zone */
  function show(zone) {
    chosen = zone;
    input.value = zone?.name ?? "";
  }

  /** Chooses the active option; if there is none, restores the last choice or clears it. */
  function accept() {
    if (list.hidden) return;
    if (active >= 0) choose(found[active]);
    else if (input.value.trim() === "") choose(null);
    else {
      show(chosen);
      close();
    }
  }

  /** @type {Record<string, (event: KeyboardEvent) => void>} */
  const keys = {
    ArrowDown(event) {
      if (list.hidden) open(zones);
      if (!event.altKey) move(Math.min(active + 1, found.length - 1));
    },
    ArrowUp(event) {
      if (event.altKey) return close();
      if (list.hidden) open(zones);
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
    announce(found.length === 1 ? "1 zone" : `${found.length} zones`);
  });
  input.addEventListener("click", () => {
    input.select();
    if (list.hidden) open(zones);
  });
  input.addEventListener("blur", accept);
  list.addEventListener("pointerdown", (event) => event.preventDefault()); // keeps the focus in the input

  return { show };
}
