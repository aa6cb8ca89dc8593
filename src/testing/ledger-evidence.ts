/**
 * What the ledger on a simulated disk proves at this instant, looked up again and again.
 *
 * Only what changed since the last look is read: page buffers of a {@link SimFile} are never changed once made, so a page
 * that is the same buffer holds the same bytes. The replay goes on where it stopped; when anything before that place is
 * another page (a new generation, a torn flush written again, rot), or the file is another one, it begins anew.
 */
import type { LedgerImage } from '../storage/ledger-image.ts';
import { beginReplay, type FlushReplay, type LedgerOwner } from '../storage/ledger-replay.ts';
import { pageBytes, type SimFile } from './sim-disk-file.ts';

/** See the file comment. */
export class LedgerEvidence {
  readonly #owner: LedgerOwner;
  #bytes = new Uint8Array(0);
  /** The pages that the bytes were copied from. */
  #pages: Uint8Array[] = [];
  #replay: FlushReplay | undefined;

  constructor(owner: LedgerOwner) {
    this.#owner = owner;
  }

  /** What the synced bytes of a ledger file say; `undefined` when both copies of its header are damaged or not authentic. */
  read(file: SimFile): LedgerImage | undefined {
    const changedFrom = this.#copyChanges(file);
    const replay = this.#replay;
    if (replay !== undefined && changedFrom === Infinity) return replay.image;
    if (replay === undefined || changedFrom < replay.offset || replay.fault !== undefined)
      this.#replay = beginReplay(this.#bytes, this.#owner);
    this.#replay?.advance(this.#bytes);
    return this.#replay?.image;
  }

  /** Brings the bytes up to date; the place of the first change, or infinity. */
  #copyChanges(file: SimFile): number {
    let changedFrom = Infinity;
    const sizeBytes = file.syncedSizeBytes;
    if (sizeBytes !== this.#bytes.length) {
      this.#bytes = new Uint8Array(sizeBytes);
      this.#pages = [];
      changedFrom = 0;
    }
    for (let number = 0; number * pageBytes < sizeBytes; number++) {
      const page = file.syncedPage(number);
      if (page === this.#pages[number]) continue;
      this.#pages[number] = page;
      const position = number * pageBytes;
      this.#bytes.set(page.subarray(0, Math.min(pageBytes, sizeBytes - position)), position);
      changedFrom = Math.min(changedFrom, position);
    }
    return changedFrom;
  }
}
