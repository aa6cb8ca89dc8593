/**
 * Builds `dist/`: the sources, then the examples, both incrementally; the browser scripts of run reports are copied.
 *
 * Incremental `tsc` never removes what a deleted source once emitted, so a stale module could hide a
 * broken import. Outputs without a source are removed first. The build information lives in `dist/`
 * itself: whoever deletes `dist/` gets a full build.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
/** Shipped as it is. */
const viewer = join('testing', 'report', 'viewer');

/** Removes outputs below `outputDirectory` whose source below `sourceDirectory` is gone. */
function removeStaleOutputs(outputDirectory: string, sourceDirectory: string): void {
  if (!existsSync(outputDirectory)) return;
  for (const entry of readdirSync(outputDirectory, { withFileTypes: true, recursive: true })) {
    const output = join(entry.parentPath, entry.name);
    if (sourceDirectory.endsWith('src') && output.startsWith(join(dist, 'examples'))) continue;
    if (!entry.isFile() || !/\.(js|css|d\.ts)$/.test(entry.name)) continue;
    if (entry.parentPath.endsWith(viewer) && existsSync(join(root, 'src', viewer, entry.name)))
      continue;
    const relative = output.slice(outputDirectory.length + 1).replace(/\.(js|d\.ts)$/, '.ts');
    const source = join(sourceDirectory, relative);
    if (!existsSync(source)) rmSync(output);
  }
}

function compile(project: string): boolean {
  const tsc = join(root, 'node_modules', 'typescript-7', 'bin', 'tsc');
  const result = spawnSync(process.execPath, [tsc, '-p', project], { cwd: root, stdio: 'inherit' });
  return result.status === 0;
}

function copyViewer(): void {
  const target = join(dist, viewer);
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(join(root, 'src', viewer)))
    copyFileSync(join(root, 'src', viewer, name), join(target, name));
}

removeStaleOutputs(dist, join(root, 'src'));
removeStaleOutputs(join(dist, 'examples'), join(root, 'examples'));

const built = compile('tsconfig.build.json') && compile('examples/tsconfig.json');
copyViewer();
const entry = join(dist, 'cli', 'main.js');
if (existsSync(entry)) chmodSync(entry, 0o755);
process.exitCode = built ? 0 : 1;
