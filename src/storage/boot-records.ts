/** `boot_record.json` beside each replica: what recovery found, for people and for support. */
import { utf8Encode } from '../base/bytes.ts';
import { messageOf } from '../base/errors.ts';
import type { BootReport, LogStoreOptions, RecoveredPartition } from './log-store-types.ts';

/** Writes the records, one after the other; nothing depends on them, so a failure is only told. */
export async function writeBootRecords(
  { fileSystem, directory, observer, diskReport }: LogStoreOptions,
  found: {
    readonly bootReport: BootReport;
    readonly recovered: readonly RecoveredPartition[];
  },
): Promise<void> {
  try {
    for (const partition of found.recovered) {
      const { partitionId, doubt, quarantine, recordedCommitIndex, lastIndex } = partition;
      const record = {
        ...found.bootReport,
        scrubState:
          doubt !== undefined || quarantine !== undefined ? 'Quarantine' : ('Healthy' as const),
        doubt,
        quarantine:
          quarantine === undefined
            ? undefined
            : {
                reason: 'Integrity',
                missing: quarantine.missing.map(
                  ({ firstIndex, lastIndex: last }) => `${firstIndex}-${last}`,
                ),
                coveredIndex: quarantine.endIndex.toString(),
                earlier: quarantine.begunMs.length,
              },
        dataDirectoryScrubState: found.bootReport.scrubState,
        recordedCommitIndex: recordedCommitIndex.toString(),
        lastIndex: lastIndex.toString(),
        ioWriterMode: fileSystem.ioWriterMode,
        disk: diskReport,
      };
      await fileSystem.replaceFile(
        `${directory}/partitions/${partitionId}/boot_record.json`,
        utf8Encode(`${JSON.stringify(record, undefined, 2)}\n`),
      );
    }
  } catch (error) {
    observer.emit({
      level: 'warn',
      kind: 'bootRecordNotWritten',
      fields: { message: messageOf(error) },
    });
  }
}
