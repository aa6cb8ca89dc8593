/**
 * Keys and values in memory, in an order that depends on nothing but the keys.
 *
 * A key lives in one of 16,384 buckets, chosen by a hash of its bytes. Walking the buckets gives three things:
 *
 * - **SCAN without state.** The cursor is the number of the next bucket. A key never changes its bucket, so a key that is
 *   there from the first to the last call of a scan is returned, and a scan may go on at another node or after a restart.
 * - **Snapshots of a moment.** A {@link KvCapture} walks the buckets while writes go on. A write to a bucket that the walk
 *   has not reached yet first keeps a copy of that one bucket. Nothing is copied at the start, and a bucket is copied at most once.
 * - **One form per content.** A captured bucket comes out sorted, so equal contents give equal snapshots on every replica.
 *
 * Keys and values are byte strings: each character is one byte (0 to 255, "latin1"). Bytes of any kind go through unharmed,
 * and V8 keeps such a string at one byte per character.
 */

/** Bytes as a string whose character codes are all below 256. */
export type ByteString = string;

/** A key and its value. */
export type KvPair = readonly [key: ByteString, value: ByteString];

/** Number of buckets. Part of the meaning of a SCAN cursor: it never changes. */
export const bucketCount = 16_384;

/** What one step of a scan found. */
export interface ScanStep {
  /** Where the next step begins; 0 when the scan is complete. */
  readonly cursor: number;
  readonly keys: readonly ByteString[];
}

/** FNV-1a over the bytes of the key, its upper half folded in. */
function bucketOf(key: ByteString): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < key.length; at++) hash = Math.imul(hash ^ key.charCodeAt(at), 0x01000193);
  return (hash ^ (hash >>> 14) ^ (hash >>> 28)) & (bucketCount - 1);
}

/** The pairs of a replica. Every operation is synchronous; captures live beside writes. */
export class KvStore {
  readonly #buckets: (Map<ByteString, ByteString> | undefined)[] = new Array<undefined>(
    bucketCount,
  ).fill(undefined);
  readonly #captures = new Set<KvCapture>();
  #count = 0;

  /** How many keys there are. */
  get count(): number {
    return this.#count;
  }

  /** The value of `key`, if it exists. */
  get(key: ByteString): ByteString | undefined {
    return this.#buckets[bucketOf(key)]?.get(key);
  }

  /** Whether `key` exists. */
  has(key: ByteString): boolean {
    return this.#buckets[bucketOf(key)]?.has(key) ?? false;
  }

  /** Gives `key` a value, whether it existed or not. */
  set(key: ByteString, value: ByteString): void {
    const number = bucketOf(key);
    let bucket = this.#buckets[number];
    this.#keepForCaptures(number, bucket);
    if (bucket === undefined) {
      bucket = new Map();
      this.#buckets[number] = bucket;
    }
    const sizeBefore = bucket.size;
    bucket.set(key, value);
    this.#count += bucket.size - sizeBefore;
  }

  /** Removes `key`; answers whether it existed. */
  delete(key: ByteString): boolean {
    const number = bucketOf(key);
    const bucket = this.#buckets[number];
    if (bucket?.has(key) !== true) return false;
    this.#keepForCaptures(number, bucket);
    bucket.delete(key);
    if (bucket.size === 0) this.#buckets[number] = undefined;
    this.#count--;
    return true;
  }

  /**
   * Takes one step of a scan from `cursor`: whole buckets, until at least `countWanted` keys are found.
   *
   * A key that exists during the whole scan is returned at least once; one that is added or removed meanwhile may or may not be.
   */
  scan(cursor: number, countWanted: number): ScanStep {
    const keys: ByteString[] = [];
    let number = cursor;
    while (number < bucketCount && keys.length < countWanted) {
      const bucket = this.#buckets[number];
      if (bucket !== undefined) for (const key of bucket.keys()) keys.push(key);
      number++;
    }
    return { cursor: number < bucketCount ? number : 0, keys };
  }

  /** Every key, one after the other; nothing may be written meanwhile. */
  *keys(): Generator<ByteString> {
    for (const bucket of this.#buckets) {
      if (bucket !== undefined) yield* bucket.keys();
    }
  }

  /** Holds the present content for reading in slices, however long that takes. Close it when done. */
  capture(): KvCapture {
    const capture = new KvCapture(
      this.#count,
      (number) => this.#buckets[number],
      (closed) => this.#captures.delete(closed),
    );
    this.#captures.add(capture);
    return capture;
  }

  #keepForCaptures(number: number, bucket: ReadonlyMap<ByteString, ByteString> | undefined): void {
    if (this.#captures.size === 0) return;
    for (const capture of this.#captures) capture.keep(number, bucket);
  }
}

const noPairs: readonly KvPair[] = [];

/** The content of a store at one moment, handed out bucket by bucket. */
export class KvCapture {
  /** How many pairs the capture holds in all. */
  readonly count: number;
  /** Buckets that were written before the walk reached them, as they were. */
  readonly #kept = new Map<number, readonly KvPair[]>();
  readonly #bucketAt: (number: number) => ReadonlyMap<ByteString, ByteString> | undefined;
  readonly #onClose: (capture: KvCapture) => void;
  #next = 0;

  constructor(
    count: number,
    bucketAt: (number: number) => ReadonlyMap<ByteString, ByteString> | undefined,
    onClose: (capture: KvCapture) => void,
  ) {
    this.count = count;
    this.#bucketAt = bucketAt;
    this.#onClose = onClose;
  }

  /** Called by the store before it changes bucket `number`. */
  keep(number: number, bucket: ReadonlyMap<ByteString, ByteString> | undefined): void {
    if (number < this.#next || this.#kept.has(number)) return;
    this.#kept.set(number, bucket === undefined ? noPairs : [...bucket]);
  }

  /** The pairs of the next bucket that has any, sorted by key; `undefined` when all were handed out. */
  nextPairs(): readonly KvPair[] | undefined {
    while (this.#next < bucketCount) {
      const number = this.#next++;
      const kept = this.#kept.get(number);
      if (kept !== undefined) this.#kept.delete(number);
      const pairs = kept ?? [...(this.#bucketAt(number) ?? noPairs)];
      if (pairs.length > 0) return pairs.toSorted(byKey);
    }
    return undefined;
  }

  /** Lets go of the content. May be called more than once. */
  close(): void {
    this.#next = bucketCount;
    this.#kept.clear();
    this.#onClose(this);
  }
}

function byKey([left]: KvPair, [right]: KvPair): number {
  if (left === right) return 0;
  return left < right ? -1 : 1;
}
