/** Functions that find elements of index.html and make new ones. */

/**
 * Finds the element with that id; throws an error if there is none or it has another type.
 * @template {Element} [T=HTMLElement]
 * @param {string} id
 * @param {new () => T} [type]
 * @returns {T}
 */
export function byId(id, type) {
  const found = document.getElementById(id);
  const expected = type ?? HTMLElement;
  if (!(found instanceof expected)) throw new Error(`index.html has no #${id} of the expected type`);
  return /** @type {T} */ (/** @type {unknown} */ (found));
}

/**
 * Finds the radio buttons of that name.
 * @param {string} name
 */
export function radios(name) {
  return [...document.getElementsByName(name)].filter((found) => found instanceof HTMLInputElement);
}

/**
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {string} text
 * @param {string} [className]
 */
export function make(name, text, className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}
