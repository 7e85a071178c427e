// Quotes one ride with fetch (Node 18 or later): node examples/quote.mjs [http://127.0.0.1:9696]
const address = process.argv[2] ?? "http://127.0.0.1:9696";

async function quote(ride) {
  const response = await fetch(`${address}/predict`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(ride),
    signal: AbortSignal.timeout(10_000),
  });
  const body = await response.json();
  if (response.ok) return body;
  throw new Error(`${body.title}: ${body.detail} (${response.headers.get("x-request-id")})`);
}

try {
  const { duration, cost } = await quote({ PULocationID: 130, DOLocationID: 205, trip_distance: 3.66 });
  console.log(`${duration.toFixed(1)} minutes${cost === undefined ? "" : `, ${cost.toFixed(2)} dollars`}`);
} catch (error) {
  console.error(error.cause?.message ?? error.message); // fetch puts the reason into cause
  process.exitCode = 1;
}
