/**
 * Seats of a theatre: held for a while, then bought or free again. Right as it stands, and wrong in the ways that people
 * get state machines wrong, one at a time.
 */
import type { ApplyContext, ApplyOutcome, EntryBatch, StateMachine } from '../../../src/index.ts';
import type { Workload } from '../../../src/testing/index.ts';

/** Ways to be wrong. */
export type Mistake =
  | 'none'
  | 'clock'
  | 'chance'
  | 'lastOfBatch'
  | 'forgetsHolds'
  | 'liveSnapshot'
  | 'mergesOnRestore'
  | 'sharedState'
  | 'throws'
  | 'writesPayload'
  | 'queryChanges'
  | 'overbooks';

interface Seat {
  readonly holder: string;
  readonly untilMs: number;
  readonly isBought: boolean;
}

const holdMs = 2_000;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Seats implements StateMachine {
  static shared = 0;
  #seats = new Map<string, Seat>();
  #sold = 0;
  readonly #mistake: Mistake;

  constructor(mistake: Mistake) {
    this.#mistake = mistake;
  }

  apply(batch: EntryBatch, context: ApplyContext): ApplyOutcome {
    const results: Uint8Array[] = [];
    for (let at = 0; at < batch.length; at++) {
      if (this.#mistake === 'lastOfBatch' && at > 0 && at === batch.length - 1) {
        results.push(encoder.encode('no'));
        continue;
      }
      const [verb = '', who = '', seat = ''] = decoder.decode(batch.payload(at)).split(' ');
      const nowMs = this.#mistake === 'clock' ? Date.now() : context.timeMs(at);
      if (this.#mistake === 'throws' && context.random(at, 0) % 50 === 0) throw new Error('oh no');
      if (this.#mistake === 'writesPayload') batch.payload(at)[0] = 0x58;
      results.push(encoder.encode(this.#do(verb, { who, seat, nowMs })));
    }
    return { kind: 'ack', results };
  }

  query(request: Uint8Array): Uint8Array {
    const seat = decoder.decode(request);
    if (this.#mistake === 'queryChanges') this.#seats.delete(seat);
    if (seat === 'sold') return encoder.encode(String(this.#sold));
    const found = this.#seats.get(seat);
    return encoder.encode(found === undefined ? 'free' : `${found.holder} ${found.isBought}`);
  }

  async *snapshot(): AsyncIterable<Uint8Array> {
    const rows =
      this.#mistake === 'forgetsHolds'
        ? [...this.#seats].filter(([, { isBought }]) => isBought)
        : [...this.#seats];
    yield encoder.encode(`${JSON.stringify(this.#sold)}\n`);
    if (this.#mistake === 'liveSnapshot') yield encoder.encode(JSON.stringify([...this.#seats]));
    else yield encoder.encode(JSON.stringify(rows));
  }

  async restore(chunks: AsyncIterable<Uint8Array>): Promise<void> {
    let text = '';
    for await (const chunk of chunks) text += decoder.decode(chunk);
    const [sold = '0', rows = '[]'] = text.split('\n');
    this.#sold = Number(sold);
    if (this.#mistake !== 'mergesOnRestore') this.#seats = new Map();
    for (const [seat, row] of JSON.parse(rows) as [string, Seat][]) this.#seats.set(seat, row);
  }

  #do(verb: string, asked: { who: string; seat: string; nowMs: number }): string {
    const { who, seat, nowMs } = asked;
    const known = this.#seats.get(seat);
    const isTaken =
      known !== undefined && known.holder !== who && (known.isBought || known.untilMs > nowMs);
    if (isTaken && !(this.#mistake === 'overbooks' && verb === 'buy')) return 'taken';
    if (known?.isBought === true && known.holder === who) return 'yours';
    if (verb === 'hold') {
      this.#seats.set(seat, { holder: who, untilMs: nowMs + holdMs, isBought: false });
      return this.#mistake === 'chance' ? `held ${Math.random() < 0.5}` : 'held';
    }
    this.#seats.set(seat, { holder: who, untilMs: 0, isBought: true });
    this.#sold++;
    Seats.shared++;
    return this.#mistake === 'sharedState' ? `bought ${Seats.shared}` : `bought ${this.#sold}`;
  }
}

/** People who hold and buy seats, and look. */
export const visitors: Workload = {
  next: ({ operation, client, random }) => {
    // A new row of seats now and then, so that there is always something to buy.
    const seat = `${Math.floor(operation / 40)}-${random.below(4)}`;
    if (random.chance(0.3)) return { query: encoder.encode(random.chance(0.3) ? 'sold' : seat) };
    const verb = random.chance(0.6) ? 'hold' : 'buy';
    return { append: encoder.encode(`${verb} visitor-${client} ${seat}`) };
  },
  verify: ({ acknowledged }) => {
    const buyers = new Map<string, string>();
    for (const { request, result } of acknowledged) {
      if (!decoder.decode(result).startsWith('bought')) continue;
      const [, who = '', seat = ''] = decoder.decode(request).split(' ');
      const other = buyers.get(seat);
      if (other !== undefined && other !== who)
        return `seat ${seat} was sold to ${other} and to ${who}`;
      buyers.set(seat, who);
    }
    return undefined;
  },
};
