/** Recent quotes, kept in this browser, or on this page alone where it keeps nothing. */

/** @typedef {{pickup: number, dropoff: number, miles: number, when: string, duration: number, cost?: number}} Past */

const KEY = "ride-quotes";
const MOST = 6;

/** @param {Storage | null} storage */
export function createRecent(storage) {
  let past = read(storage);
  let kept = storage !== null;

  /** @param {Past[]} next */
  function write(next) {
    past = next;
    try {
      storage?.setItem(KEY, JSON.stringify(past));
    } catch {
      kept = false; // it is full, or the browser keeps nothing: the page still has them
    }
  }

  return {
    all: () => past,
    isKept: () => kept,
    /** @param {Past} quote which takes the place of an earlier one of the same ride */
    add(quote) {
      const others = past.filter((one) => one.pickup !== quote.pickup || one.dropoff !== quote.dropoff);
      write([quote, ...others].slice(0, MOST));
    },
    clear: () => write([]),
  };
}

/** The browser's own, or none where it says no. */
export function browserStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

/**
 * @param {Storage | null} storage
 * @returns {Past[]}
 */
function read(storage) {
  try {
    const found = JSON.parse(storage?.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter(isPast).slice(0, MOST) : [];
  } catch {
    return []; // what another version or a person has left there is no quote
  }
}

/**
 * @param {any} one
 * @returns {one is Past}
 */
function isPast(one) {
  return (
    ["pickup", "dropoff", "miles", "duration"].every((name) => Number.isFinite(one?.[name])) &&
    typeof one.when === "string" &&
    (one.cost === undefined || Number.isFinite(one.cost))
  );
}
