/**
 * One file of a simulated disk: what is on the medium, and what has been written since without a sync.
 *
 * A file is a sparse map of 4,096-byte pages; a page nobody wrote is zeros and costs nothing. Each page keeps
 *
 * - `synced`: the bytes on the medium;
 * - `unsynced`: every version written since, oldest first. A power loss picks, sector by sector, one of them or the synced
 *   one, in any combination, and may tear one sector in two;
 * - `cached`: after a failed sync the operating system calls the page clean although it never reached the medium. Ordinary
 *   reads go on seeing it, later syncs skip it, a power loss forgets it.
 *
 * Page buffers are never changed once made, so copies of a disk share them.
 */
import { assert, present } from '../base/assert.ts';
import { crc32c } from '../base/crc32c.ts';
import { nextBelow, nextUint32, type PrngState } from '../base/prng.ts';

/** Bytes of a page. */
export const pageBytes = 4096;

/** Bytes a medium writes or loses as one. */
export const sectorBytes = 512;

/** Versions of one page that are kept apart; the oldest ones go first. */
const unsyncedVersionsMax = 6;

const zeroPage = new Uint8Array(pageBytes);

interface SimPage {
  synced: Uint8Array;
  readonly unsynced: Uint8Array[];
  cached: Uint8Array | undefined;
}

/** A page with its bytes on the medium. */
export interface MediumPage {
  readonly number: number;
  readonly bytes: Uint8Array;
}

/** A sector of 512 bytes that a power loss may lose. */
export interface UnsyncedSector {
  readonly page: number;
  readonly start: number;
}

/** Whose eyes a file is read with. */
export type FileView = 'cache' | 'device' | 'synced';

/**
 * Called right after a sync put pages of a file on the medium, before anybody is told: it may leave there what was there before,
 * or do other harm. Whether it did all that it was armed for.
 */
export type SyncMishap = (path: string, file: SimFile, before: readonly MediumPage[]) => boolean;

/** Content of a file, whatever names lead to it. */
export class SimFile {
  readonly #pages = new Map<number, SimPage>();
  readonly #dirty = new Set<SimPage>();
  #sizeBytes = 0;
  #syncedSizeBytes = 0;

  /** A file of zeros that is on the medium. */
  static zeroed(sizeBytes: number): SimFile {
    const file = new SimFile();
    file.#sizeBytes = sizeBytes;
    file.#syncedSizeBytes = sizeBytes;
    return file;
  }

  /** Size as programs see it. */
  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Size that surely survives a power loss. */
  get syncedSizeBytes(): number {
    return this.#syncedSizeBytes;
  }

  /** Whether everything written is on the medium. */
  get isClean(): boolean {
    return this.#dirty.size === 0 && this.#sizeBytes === this.#syncedSizeBytes;
  }

  /** Numbers of pages that hold synced bytes other than never-written zeros, rising. */
  syncedPageNumbers(): number[] {
    const numbers: number[] = [];
    for (const [number, page] of this.#pages) if (page.synced !== zeroPage) numbers.push(number);
    return numbers.sort((left, right) => left - right);
  }

  /** The page on the medium. It is never changed: another one takes its place. */
  syncedPage(number: number): Uint8Array {
    return this.#pages.get(number)?.synced ?? zeroPage;
  }

  /** Pages that were written since the last sync, rising, each as it is on the medium until then. */
  dirtyPages(): MediumPage[] {
    const pages: MediumPage[] = [];
    for (const [number, page] of this.#pages)
      if (this.#dirty.has(page)) pages.push({ number, bytes: page.synced });
    return pages.sort((left, right) => left.number - right.number);
  }

  /** The medium holds other bytes of a page than it said; nobody is told. */
  replaceOnMedium({ number, bytes }: MediumPage): void {
    const page = this.#page(number);
    page.synced = bytes;
    page.cached = undefined;
  }

  /** A copy of the bytes from `position` on; shorter only at the end of the file. */
  read(position: number, length: number, view: FileView): Uint8Array {
    const size = view === 'synced' ? this.#syncedSizeBytes : this.#sizeBytes;
    const end = Math.min(size, position + length);
    if (end <= position) return new Uint8Array(0);
    const bytes = new Uint8Array(end - position);
    if (this.#pages.size === 0) return bytes;
    for (let number = Math.floor(position / pageBytes); number * pageBytes < end; number++) {
      const page = this.#pages.get(number);
      if (page === undefined) continue;
      const from = Math.max(position, number * pageBytes);
      const to = Math.min(end, (number + 1) * pageBytes);
      const source = viewOf(page, view);
      bytes.set(
        source.subarray(from - number * pageBytes, to - number * pageBytes),
        from - position,
      );
    }
    return bytes;
  }

  /** Writes without a sync; extends the file where needed. */
  write(position: number, bytes: Uint8Array): void {
    const copy = bytes.slice();
    const end = position + copy.length;
    for (let number = Math.floor(position / pageBytes); number * pageBytes < end; number++) {
      const start = number * pageBytes;
      const page = this.#page(number);
      if (start >= position && start + pageBytes <= end) {
        this.#addVersion(page, copy.subarray(start - position, start - position + pageBytes));
        continue;
      }
      const merged = viewOf(page, 'cache').slice();
      const from = Math.max(start, position);
      merged.set(
        copy.subarray(from - position, Math.min(end, start + pageBytes) - position),
        from - start,
      );
      this.#addVersion(page, merged);
    }
    this.#sizeBytes = Math.max(this.#sizeBytes, end);
  }

  /** Cuts or extends with zeros, without a sync. */
  truncate(sizeBytes: number): void {
    if (sizeBytes < this.#sizeBytes) {
      for (const [number, page] of this.#pages) {
        const start = number * pageBytes;
        if (start + pageBytes <= sizeBytes || viewOf(page, 'cache') === zeroPage) continue;
        const cut = start >= sizeBytes ? zeroPage : viewOf(page, 'cache').slice();
        if (cut !== zeroPage) cut.fill(0, sizeBytes - start);
        this.#addVersion(page, cut);
      }
    }
    this.#sizeBytes = sizeBytes;
  }

  /** Puts everything written so far on the medium. */
  sync(): void {
    for (const page of this.#dirty) {
      page.synced = latest(page);
      page.unsynced.length = 0;
    }
    this.#dirty.clear();
    if (this.#syncedSizeBytes > this.#sizeBytes) this.#dropPagesBehindEnd();
    this.#syncedSizeBytes = this.#sizeBytes;
  }

  /**
   * A sync that failed: each dirty page may have reached the medium or not, and all of them count as clean from now on.
   *
   * @param keepsCache - Whether the pages live on in a page cache, where ordinary reads find them.
   */
  failSync(random: PrngState, keepsCache: boolean): void {
    for (const page of this.#dirty) {
      const version = latest(page);
      page.unsynced.length = 0;
      if ((nextUint32(random) & 3) === 0) page.synced = version;
      else if (keepsCache) page.cached = version;
    }
    this.#dirty.clear();
  }

  /** Power loss: of what was not synced any part may be on the medium. */
  losePower(random: PrngState): void {
    for (const page of this.#pages.values()) page.cached = undefined;
    if (this.isClean) return;
    const survivalPercent = present([0, 10, 50, 90, 100][nextBelow(random, 5)], 'five rates exist');
    for (const page of this.#dirty) {
      page.synced = survivorOf(page, survivalPercent, random);
      page.unsynced.length = 0;
    }
    this.#dirty.clear();
    const hasNewSize = nextBelow(random, 2) === 0;
    if (!hasNewSize) this.#sizeBytes = this.#syncedSizeBytes;
    this.#syncedSizeBytes = this.#sizeBytes;
    this.#dropPagesBehindEnd();
  }

  /** Sectors whose newest bytes are not on the medium and differ from what is. */
  unsyncedSectors(): UnsyncedSector[] {
    const sectors: UnsyncedSector[] = [];
    for (const [number, page] of this.#pages) {
      if (!this.#dirty.has(page)) continue;
      const newest = latest(page);
      for (let start = 0; start < pageBytes; start += sectorBytes)
        if (!isSameSector(newest, page.synced, start)) sectors.push({ page: number, start });
    }
    return sectors;
  }

  /** Whether a power loss may take the file's size back. */
  get hasUnsyncedSize(): boolean {
    return this.#sizeBytes !== this.#syncedSizeBytes;
  }

  /** A power loss that leaves exactly these of {@link SimFile.unsyncedSectors}, and the new size or the old one. */
  losePowerKeeping(kept: readonly UnsyncedSector[], keepsSize: boolean): void {
    const newest = new Map<number, Uint8Array>();
    for (const { page: number, start } of kept) {
      const page = this.#page(number);
      const bytes = newest.get(number) ?? page.synced.slice();
      bytes.set(latest(page).subarray(start, start + sectorBytes), start);
      newest.set(number, bytes);
    }
    for (const [number, bytes] of newest) this.#page(number).synced = bytes;
    for (const page of this.#pages.values()) page.cached = undefined;
    for (const page of this.#dirty) page.unsynced.length = 0;
    this.#dirty.clear();
    if (!keepsSize) this.#sizeBytes = this.#syncedSizeBytes;
    this.#syncedSizeBytes = this.#sizeBytes;
    this.#dropPagesBehindEnd();
  }

  /** A number that tells contents on the medium apart. */
  syncedChecksum(): number {
    let checksum = crc32c(Uint8Array.of(this.#syncedSizeBytes & 0xff));
    for (const number of this.syncedPageNumbers()) {
      const page = present(this.#pages.get(number), 'a page that was listed');
      checksum = (Math.imul(checksum ^ number, 0x9e3779b1) ^ pageChecksum(page.synced)) >>> 0;
    }
    return checksum;
  }

  /** Flips one bit at rest. */
  flipBit(position: number, bit: number): void {
    assert(position < this.#sizeBytes, 'rot hits the file');
    const number = Math.floor(position / pageBytes);
    const bytes = this.#page(number).synced.slice();
    const at = position % pageBytes;
    bytes[at] = (bytes[at] ?? 0) ^ (1 << (bit & 7));
    this.replaceOnMedium({ number, bytes });
  }

  /** An independent copy; with `syncedOnly` of what surely survives a power loss. */
  clone(syncedOnly: boolean): SimFile {
    const copy = new SimFile();
    copy.#sizeBytes = syncedOnly ? this.#syncedSizeBytes : this.#sizeBytes;
    copy.#syncedSizeBytes = this.#syncedSizeBytes;
    for (const [number, page] of this.#pages) {
      const twin: SimPage = {
        synced: page.synced,
        unsynced: syncedOnly ? [] : [...page.unsynced],
        cached: syncedOnly ? undefined : page.cached,
      };
      copy.#pages.set(number, twin);
      if (twin.unsynced.length > 0) copy.#dirty.add(twin);
    }
    return copy;
  }

  #page(number: number): SimPage {
    let page = this.#pages.get(number);
    if (page === undefined) {
      page = { synced: zeroPage, unsynced: [], cached: undefined };
      this.#pages.set(number, page);
    }
    return page;
  }

  #addVersion(page: SimPage, bytes: Uint8Array): void {
    page.cached = undefined;
    if (page.unsynced.length === unsyncedVersionsMax) page.unsynced.shift();
    page.unsynced.push(bytes);
    this.#dirty.add(page);
  }

  #dropPagesBehindEnd(): void {
    for (const [number, page] of this.#pages) {
      const start = number * pageBytes;
      if (start >= this.#sizeBytes) {
        this.#pages.delete(number);
      } else if (start + pageBytes > this.#sizeBytes) {
        page.synced = page.synced.slice();
        page.synced.fill(0, this.#sizeBytes - start);
      }
    }
  }
}

function isSameSector(left: Uint8Array, right: Uint8Array, start: number): boolean {
  for (let at = start; at < start + sectorBytes; at++) if (left[at] !== right[at]) return false;
  return true;
}

/** Buffers of pages never change, so each is summed once. */
const pageChecksums = new WeakMap<Uint8Array, number>();

function pageChecksum(bytes: Uint8Array): number {
  const known = pageChecksums.get(bytes);
  if (known !== undefined) return known;
  const checksum = crc32c(bytes);
  pageChecksums.set(bytes, checksum);
  return checksum;
}

function latest(page: SimPage): Uint8Array {
  return page.unsynced.length > 0 ? present(page.unsynced.at(-1), 'a version exists') : page.synced;
}

function viewOf(page: SimPage, view: FileView): Uint8Array {
  switch (view) {
    case 'cache':
      return page.cached ?? latest(page);
    case 'device':
      return latest(page);
    case 'synced':
      return page.synced;
  }
}

/** What a power loss leaves of a page: per sector one of its versions, now and then two of them in one sector. */
function survivorOf(page: SimPage, survivalPercent: number, random: PrngState): Uint8Array {
  if (survivalPercent === 0) return page.synced;
  if (survivalPercent === 100) return latest(page);
  const bytes = page.synced.slice();
  for (let start = 0; start < pageBytes; start += sectorBytes) {
    if (nextBelow(random, 100) >= survivalPercent) continue;
    const version = present(
      page.unsynced[nextBelow(random, page.unsynced.length)],
      'a dirty page has versions',
    );
    const isTorn = nextBelow(random, 16) === 0;
    const length = isTorn ? nextBelow(random, sectorBytes) : sectorBytes;
    bytes.set(version.subarray(start, start + length), start);
  }
  return bytes;
}
