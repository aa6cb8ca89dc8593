/** The index beside a closed segment, which can be missing, damaged or unreadable without harm: the segment says the same. */
import { decodeSegmentIndex, segmentIndexFileName } from '../codec/idx-format.ts';
import type { FileSystem } from '../ports/file-system.ts';

/** Reads an index; `undefined` where its segment has to be scanned instead. */
export async function readSegmentIndex(
  fileSystem: FileSystem,
  folder: string,
  segment: { readonly segmentSeq: number; readonly endOffset: number },
): Promise<ReturnType<typeof decodeSegmentIndex>> {
  const path = `${folder}/${segmentIndexFileName(segment.segmentSeq)}`;
  let bytes: Uint8Array | undefined;
  try {
    bytes = await fileSystem.readFile(path);
  } catch {
    return undefined;
  }
  return bytes === undefined ? undefined : decodeSegmentIndex(bytes, segment);
}
