/**
 * Builds `dist/`: the sources, then the examples, both incrementally.
 *
 * Incremental `tsc` never removes what a deleted source once emitted, so a stale module could hide a
 * broken import. Outputs without a source are removed first. The build information lives in `dist/`
 * itself: whoever deletes `dist/` gets a full build.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');

/** Removes outputs below `outputDirectory` whose source below `sourceDirectory` is gone. */
function removeStaleOutputs(outputDirectory: string, sourceDirectory: string): void {
  if (!existsSync(outputDirectory)) return;
  for (const entry of readdirSync(outputDirectory, { withFileTypes: true, recursive: true })) {
    const output = join(entry.parentPath, entry.name);
    if (sourceDirectory.endsWith('src') && output.startsWith(join(dist, 'examples'))) continue;
    if (!entry.isFile() || !/\.(js|d\.ts)$/.test(entry.name)) continue;
    const relative = output.slice(outputDirectory.length + 1).replace(/\.(js|d\.ts)$/, '.ts');
    const source = join(sourceDirectory, relative);
    if (!existsSync(source)) rmSync(output);
  }
}

function compile(project: string): boolean {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const result = spawnSync(process.execPath, [tsc, '-p', project], { cwd: root, stdio: 'inherit' });
  return result.status === 0;
}

removeStaleOutputs(dist, join(root, 'src'));
removeStaleOutputs(join(dist, 'examples'), join(root, 'examples'));

const built = compile('tsconfig.build.json') && compile('examples/tsconfig.json');
const entry = join(dist, 'cli', 'main.js');
if (existsSync(entry)) chmodSync(entry, 0o755);
process.exitCode = built ? 0 : 1;
