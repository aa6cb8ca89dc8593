/**
 * What a replica does with inputs while its log is being replaced: storage is heard, since what it completes was asked for
 * before; what peers say and what time brings is lost, like on a network; what the node itself found out waits.
 */
import type { Input } from '../raft/index.ts';

/** See the file comment. */
export class FrozenInputs {
  #waiting: Input[] | undefined;

  /** Whether the replica is frozen. */
  get isFrozen(): boolean {
    return this.#waiting !== undefined;
  }

  /** Begins. */
  freeze(): void {
    this.#waiting ??= [];
  }

  /** Ends; what waited, in order. */
  thaw(): readonly Input[] {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    return waiting;
  }

  /** Whether an input goes to the core now. */
  passes(input: Input): boolean {
    if (this.#waiting === undefined) return true;
    switch (input.kind) {
      case 'durable':
      case 'hardStateDurable':
        return true;
      case 'message':
      case 'tick':
      case 'stalled':
      case 'wake':
      case 'leaderCommit':
      case 'propose':
      case 'readIndex':
      case 'leaseRead':
        return false;
      default:
        this.#waiting.push(input);
        return false;
    }
  }
}
