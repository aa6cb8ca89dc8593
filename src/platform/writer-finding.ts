/** In which mode a node on this disk would write (specification DUR-4): a file is opened as chains would have it. */
import { join } from 'node:path';
import { isClustorError } from '../base/errors.ts';
import type { DiskFinding } from '../policy/disk-hygiene.ts';
import { openNodeFileSystem } from './node-file-system.ts';

const probeBytes = 4096;

/** Looks; where no file can be made there it says nothing: other findings tell why. */
export async function writerFindings(directory: string): Promise<readonly DiskFinding[]> {
  const fileSystem = await openNodeFileSystem();
  const path = join(directory, `.writer-probe-${process.pid}`);
  try {
    await fileSystem.createZeroed(path, probeBytes);
    await fileSystem.close(await fileSystem.open(path, { access: 'durableWrite' }));
    const { ioWriterMode } = fileSystem;
    if (ioWriterMode === 'Direct')
      return [
        {
          finding: 'Writer',
          verdict: 'Allow',
          text: 'the file system takes direct writes',
          advice: 'Nothing to do.',
        },
      ];
    return [
      {
        finding: 'Writer',
        verdict: 'Warn',
        text: `a node would write in mode ${ioWriterMode}: ${ioWriterMode === 'Pooled' ? 'the file system takes no direct writes' : 'no thread can be started'}`,
        advice: 'It is as safe and slower; ext4 and XFS take direct writes.',
      },
    ];
  } catch (error) {
    if (!isClustorError(error)) throw error;
    return [];
  } finally {
    await fileSystem.remove(path).catch(() => undefined);
    await fileSystem.shutDown();
  }
}
