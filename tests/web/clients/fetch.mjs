// Quotes a ride with Node's fetch, with Content-Length and in chunks: node fetch.mjs address
const body = JSON.stringify({ PULocationID: 130, DOLocationID: 205, trip_distance: 3.66 });

async function quote(options) {
  const response = await fetch(`${process.argv[2]}/predict`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    ...options,
  });
  if (!response.ok) throw new Error(await response.text());
  return (await response.json()).duration;
}

const whole = await quote({ body });
const chunked = await quote({ body: new Blob([body]).stream(), duplex: "half" });
if (whole !== chunked) throw new Error(`${whole} is not ${chunked}`);
console.log(whole);
