/** Turns of the loop, for whoever drives a simulated world from a real process. */

/** Resolves in a later turn of the loop: everything that only waits for promises has run by then. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
