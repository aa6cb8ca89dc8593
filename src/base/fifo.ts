/**
 * First-in first-out queue on an array that is not shifted: V8 moves every element of one that has more than some sixteen thousand.
 * What was taken out is not held.
 */
import { empty } from './arrays.ts';

/** Places in front that may stand empty before the others are moved up. */
const gapMax = 1024;

/** See the file comment. */
export class Fifo<T> {
  #items: (T | undefined)[] = [];
  #start = 0;

  /** Items that wait. */
  get length(): number {
    return this.#items.length - this.#start;
  }

  /** Puts an item behind all others. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** The first item, left where it is. */
  peek(): T | undefined {
    return this.#items[this.#start];
  }

  /** The item at a position, from the first one on; a negative one counts from behind the last. */
  at(position: number): T | undefined {
    if (position >= 0) return this.#items[this.#start + position];
    return this.length + position >= 0 ? this.#items.at(position) : undefined;
  }

  /** Takes the last item out. */
  pop(): T | undefined {
    return this.length === 0 ? undefined : this.#items.pop();
  }

  /** Takes the first item out. */
  shift(): T | undefined {
    const item = this.#items[this.#start];
    if (item === undefined) return undefined;
    this.#items[this.#start] = undefined;
    this.#start++;
    if (this.#start === this.#items.length) this.#clear();
    else if (this.#start > gapMax && this.#start * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#start);
      this.#start = 0;
    }
    return item;
  }

  #clear(): void {
    // A short array is used again; a long one is not kept for a queue that is empty.
    if (this.#start > gapMax) this.#items = [];
    else empty(this.#items);
    this.#start = 0;
  }
}
