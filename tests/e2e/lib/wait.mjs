// Wait for a condition, with a deadline: time alone never decides a test.
export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

const DEADLINE_MS = 30000;
const EVERY_MS = 25;

// Resolves to the first truthy value of condition(); a rejection counts as "not yet".
export async function until(what, condition, { timeout = DEADLINE_MS } = {}) {
  const end = Date.now() + timeout;
  let last;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`${what}: not within ${timeout} ms (last: ${last?.message ?? last})`);
    await pause(EVERY_MS);
  }
}
