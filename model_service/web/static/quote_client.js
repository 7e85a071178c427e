/** Asks for quotes: the latest wish only, after a pause, and again where that may help. */

/** @typedef {[number, number]} Interval */
/** @typedef {{PULocationID: number, DOLocationID: number, trip_distance: number, pickup_datetime?: string}} Ride */
/**
 * @typedef {object} Quote
 * @property {number} duration minutes
 * @property {number} [cost] US dollars
 * @property {{duration?: Interval, cost?: Interval}} [intervals]
 * @property {{duration: string, cost?: string}} versions
 */
/** @typedef {{text: string, field?: string, again: boolean}} Trouble */
/** @typedef {{quote: Quote} | {trouble: Trouble}} Outcome */

const PAUSE = 250; // milliseconds, for the next keystroke
const WAITS = [2, 4, 8, 16, 30]; // seconds, between tries
const ANSWER_WITHIN = 15_000; // milliseconds

/** What the service's rules are to a rider. */
const RULES = new Map([
  ["trip_distance", "The distance has to be from 0 to less than 1,000 miles."],
  ["pickup_datetime", "That is not a date and time that can be used."],
  ["PULocationID", "The service does not know this pick-up."],
  ["DOLocationID", "The service does not know this drop-off."],
]);

/**
 * Asks the service once.
 * @param {Ride} ride
 * @param {AbortSignal} dropped when nobody wants to know any more
 * @returns {Promise<Outcome>}
 */
export async function ask(ride, dropped) {
  const controller = new AbortController(); // AbortSignal.any would be shorter, and is not in phones of 2023
  const stop = () => controller.abort();
  const timer = setTimeout(stop, ANSWER_WITHIN);
  dropped.addEventListener("abort", stop);
  try {
    const answer = await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(ride),
      signal: controller.signal,
    });
    if (answer.ok) return { quote: await answer.json() };
    return { trouble: trouble(answer.status, await answer.json().catch(() => ({}))) };
  } catch {
    return { trouble: { text: "The service cannot be reached.", again: true } };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Why there is no quote, in a rider's words.
 * @param {number} status
 * @param {{type?: string, field?: string}} problem
 * @returns {Trouble}
 */
export function trouble(status, problem) {
  if (status === 503) return { text: "The service cannot answer right now.", again: true };
  if (status >= 500) return { text: "Something went wrong on our side.", again: true };
  if (status === 429) return { text: "Too many questions at once.", again: true };
  if (problem.type?.endsWith("#unscorable")) {
    return { text: "There is no answer to this ride. Is the distance right?", again: false };
  }
  const rule = RULES.get(problem.field ?? "");
  if (rule) return { text: rule, field: problem.field, again: false };
  return { text: "The service does not understand this page. Reload it.", again: false };
}

/**
 * @param {(ride: Ride, signal: AbortSignal) => Promise<Outcome>} ask
 * @param {(outcome: Outcome, ride: Ride) => void} show gets the outcome of the latest wish
 */
export function createAsker(ask, show) {
  /** @type {Ride | null} */
  let wish = null;
  let tries = 0;
  let controller = new AbortController();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;

  /** @param {number} milliseconds */
  function plan(milliseconds) {
    controller.abort(); // a stale answer is dropped, wherever it is
    clearTimeout(timer);
    timer = wish ? setTimeout(run, milliseconds, wish) : undefined;
  }

  /** @param {Ride} ride */
  async function run(ride) {
    const { signal } = (controller = new AbortController());
    const outcome = await ask(ride, signal);
    if (signal.aborted) return;
    if ("trouble" in outcome && outcome.trouble.again) {
      plan(1000 * WAITS[Math.min(tries, WAITS.length - 1)]);
      tries += 1;
    } else {
      tries = 0;
    }
    show(outcome, ride);
  }

  return {
    /** @param {Ride | null} ride to be quoted; none drops what was asked */
    want(ride) {
      [wish, tries] = [ride, 0];
      plan(PAUSE);
    },
    again: () => plan(0),
  };
}
