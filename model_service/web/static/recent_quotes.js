/** Stores recent quotes in the browser; only in the page's memory if the browser stores nothing. */

/** @typedef {{pickup: number, dropoff: number, miles: number, when: string, duration: number, cost?: number}} RecentQuote */

const KEY = "ride-quotes";
const LIMIT = 6;

/** @param {Storage | null} storage */
export function createRecentQuotes(storage) {
  let quotes = read(storage);
  let stored = storage !== null;

  /** @param {RecentQuote[]} next */
  function write(next) {
    quotes = next;
    try {
      storage?.setItem(KEY, JSON.stringify(quotes));
    } catch {
      stored = false; // storage is full or disabled; the page still has the quotes
    }
  }

  return {
    all: () => quotes,
    isStored: () => stored,
    /** @param {RecentQuote} quote replaces an earlier quote with the same two zones */
    add(quote) {
      const others = quotes.filter((one) => one.pickup !== quote.pickup || one.dropoff !== quote.dropoff);
      write([quote, ...others].slice(0, LIMIT));
    },
    clear: () => write([]),
  };
}

/** Returns the browser's storage, or null if access is denied. */
export function browserStorage() {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

/**
 * @param {Storage | null} storage
 * @returns {RecentQuote[]}
 */
function read(storage) {
  try {
    const found = JSON.parse(storage?.getItem(KEY) ?? "[]");
    return Array.isArray(found) ? found.filter(isRecentQuote).slice(0, LIMIT) : [];
  } catch {
    return []; // not JSON: another version of the page or a person wrote it
  }
}

/**
 * @param {any} one
 * @returns {one is RecentQuote}
 */
function isRecentQuote(one) {
  return (
    ["pickup", "dropoff", "miles", "duration"].every((name) => Number.isFinite(one?.[name])) &&
    typeof one.when === "string" &&
    (one.cost === undefined || Number.isFinite(one.cost))
  );
}
