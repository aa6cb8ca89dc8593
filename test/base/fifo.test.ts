/** A queue gives out what it was given. */
import { expect, test } from 'vitest';

import { Fifo } from '../../src/base/fifo.ts';
import { createPrng, nextBelow } from '../../src/base/prng.ts';

test('a queue holds what an array holds, at both ends and by position, while it grows and shrinks', () => {
  const state = createPrng(5);
  const queue = new Fifo<number>();
  const model: number[] = [];
  for (let step = 0; step < 60_000; step++) {
    const isGrowing = Math.floor(step / 7500) % 2 === 0;
    const draw = nextBelow(state, 10);
    if (draw < (isGrowing ? 7 : 2)) {
      queue.push(step);
      model.push(step);
    } else if (draw === 9) expect(queue.pop()).toBe(model.pop());
    else expect(queue.shift()).toBe(model.shift());
    const position = nextBelow(state, 40) - 20;
    expect(queue.at(position)).toBe(model.at(position));
    expect(queue.peek()).toBe(model[0]);
    expect(queue.length).toBe(model.length);
  }
});
