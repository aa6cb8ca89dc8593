/**
 * The folder a bench works in: below `.bench/` of the repository, so that what is measured is the disk the
 * repository lies on and never a memory file system, and removed again however the process ends.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The root of the repository. */
export const repositoryDirectory: string = dirname(
  dirname(dirname(fileURLToPath(import.meta.url))),
);

/** Makes a fresh folder that lives as long as this process. */
export function makeScratchDirectory(name: string): string {
  const parent = join(repositoryDirectory, '.bench');
  mkdirSync(parent, { recursive: true });
  const directory = mkdtempSync(join(parent, `${name}-`));
  process.on('exit', () => {
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });
  return directory;
}

/** Makes SIGINT and SIGTERM end the process through its exit handlers, which clean up. */
export function exitOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => {
      process.exit(1);
    });
  }
}
