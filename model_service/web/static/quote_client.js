/** Requests quotes from the service: for the latest ride only, after a pause, with retries. */

/** @typedef {[number, number]} Interval */
/** @typedef {{PULocationID: number, DOLocationID: number, trip_distance: number, pickup_datetime?: string}} Ride */
/**
 * @typedef {object} Quote
 * @property {number} duration minutes
 * @property {number} [cost] US dollars
 * @property {{duration?: Interval, cost?: Interval}} [intervals]
 * @property {{duration: string, cost?: string}} versions
 */
/** @typedef {{text: string, field?: string, retry: boolean}} QuoteError */
/** @typedef {{quote: Quote} | {error: QuoteError}} QuoteResult */

const PAUSE = 250; // milliseconds without a change of the inputs, before a request is sent
const RETRY_AFTER = [2, 4, 8, 16, 30]; // seconds; the last one repeats
const TIMEOUT = 15_000; // milliseconds

/** Maps each field that may break a rule of the service to the text to show. */
const FIELD_ERRORS = new Map([
  ["trip_distance", "Enter a distance from 0 to less than 1,000 miles."],
  ["pickup_datetime", "Enter a valid date and time."],
  ["PULocationID", "This pick-up zone is not supported."],
  ["DOLocationID", "This drop-off zone is not supported."],
]);

/**
 * Sends one request.
 * @param {Ride} ride
 * @param {AbortSignal} signal aborts the request
 * @returns {Promise<QuoteResult>}
 */
export async function fetchQuote(ride, signal) {
  const controller = new AbortController(); // not AbortSignal.any, which phones of 2023 lack
  const abort = () => controller.abort();
  const timer = setTimeout(abort, TIMEOUT);
  signal.addEventListener("abort", abort);
  try {
    const response = await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(ride),
      signal: controller.signal,
    });
    if (response.ok) return { quote: await response.json() };
    return { error: quoteError(response.status, await response.json().catch(() => ({}))) };
  } catch {
    return { error: { text: "We can’t reach the service.", retry: true } };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Returns the error to show to the rider for an error response of the service.
 * @param {number} status
 * @param {{type?: string, field?: string}} problem
 * @returns {QuoteError}
 */
export function quoteError(status, problem) {
  if (status === 503) return { text: "Quotes are not available right now.", retry: true };
  if (status >= 500) return { text: "Something went wrong on our side.", retry: true };
  if (status === 429) return { text: "Too many requests.", retry: true };
  if (problem.type?.endsWith("#unscorable")) {
    return { text: "We can’t estimate this ride. Is the distance right?", retry: false };
  }
  const text = FIELD_ERRORS.get(problem.field ?? "");
  if (text) return { text, field: problem.field, retry: false };
  return { text: "This page is out of date. Please reload it.", retry: false };
}

/**
 * @param {(ride: Ride, signal: AbortSignal) => Promise<QuoteResult>} fetchQuote
 * @param {(result: QuoteResult, ride: Ride) => void} onResult receives the result of the latest ride
 */
export function createQuoteClient(fetchQuote, onResult) {
  /** @type {Ride | null} */
  let latest = null;
  let tries = 0;
  let controller = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {number} milliseconds */
  function schedule(milliseconds) {
    controller.abort(); // drops the result of an earlier request
    clearTimeout(timer);
    timer = latest ? setTimeout(run, milliseconds, latest) : undefined;
  }

  /** @param {Ride} ride */
  async function run(ride) {
    const { signal } = (controller = new AbortController());
    const result = await fetchQuote(ride, signal);
    if (signal.aborted) return;
    if ("error" in result && result.error.retry) {
      schedule(1000 * RETRY_AFTER[Math.min(tries, RETRY_AFTER.length - 1)]);
      tries += 1;
    } else {
      tries = 0;
    }
    onResult(result, ride);
  }

  return {
    /** @param {Ride | null} ride to quote; null cancels the current request */
    request(ride) {
      [latest, tries] = [ride, 0];
      schedule(PAUSE);
    },
    retry: () => schedule(0),
  };
}
