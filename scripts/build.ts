/**
 * Builds `dist/`: the declarations of the sources, the code of the entry points, then the examples; the browser scripts
 * of run reports are copied.
 *
 * The code is few files instead of one per source: an entry point each, and what they share in `dist/shared/`, readable
 * and in the order of the sources. Node spends more on finding and linking four hundred modules than on running
 * them, and every command and every node pays for that (docs/adr/0022).
 *
 * Incremental compilers never remove what a deleted source once emitted, so a stale module could hide a
 * broken import. Outputs without a source are removed first. The build information lives in `dist/`
 * itself: whoever deletes `dist/` gets a full build.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { build, type Metafile } from 'esbuild';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const dist = join(root, 'dist');
const sources = join(root, 'src');
/** Shipped as it is. */
const viewer = join('testing', 'report', 'viewer');
const { dependencies, optionalDependencies } = JSON.parse(
  readFileSync(join(root, 'package.json'), 'utf8'),
) as Readonly<Record<'dependencies' | 'optionalDependencies', Readonly<Record<string, string>>>>;
const entryPoints = [
  'index.ts',
  'client/index.ts',
  'raft/index.ts',
  'testing/index.ts',
  'cli/main.ts',
];

/** Removes what `isOutput` does not know below a folder, of the kinds of files that a build makes. */
function removeStaleOutputs(folder: string, isOutput: (path: string) => boolean): void {
  if (!existsSync(folder)) return;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && /\.(js|css|d\.ts)$/.test(entry.name) && !isOutput(path)) rmSync(path);
  }
}

function compile(project: string): boolean {
  const tsc = join(root, 'node_modules', 'typescript-7', 'bin', 'tsc');
  const result = spawnSync(process.execPath, [tsc, '-p', project], { cwd: root, stdio: 'inherit' });
  return result.status === 0;
}

/** Makes the code of the entry points; returns its files. */
async function bundle(): Promise<ReadonlySet<string>> {
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: entryPoints.map((path) => join('src', path)),
    outbase: 'src',
    outdir: 'dist',
    // One folder below `dist/`, as `cli/` is: what lies beside the code is found from either.
    chunkNames: 'shared/[name]-[hash]',
    bundle: true,
    splitting: true,
    external: Object.keys({ ...dependencies, ...optionalDependencies }),
    // Of what is copied in, only what is used.
    mainFields: ['module', 'main'],
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    metafile: true,
    logLevel: 'warning',
  });
  writeNotices(metafile);
  return new Set(Object.keys(metafile.outputs).map((path) => join(root, path)));
}

/** Names the packages whose code is in `dist/`, with their licences and the notices at the heads of their files. */
function writeNotices({ inputs }: Metafile): void {
  const files = new Map<string, string[]>();
  for (const path of Object.keys(inputs)) {
    const folder = /^node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0];
    if (folder !== undefined) files.set(folder, [...(files.get(folder) ?? []), path]);
  }
  const sections = [...files].map(([folder, paths]) => {
    const { name, version, license } = JSON.parse(
      readFileSync(join(root, folder, 'package.json'), 'utf8'),
    ) as Readonly<Record<'name' | 'version' | 'license', string>>;
    const licenceFiles = readdirSync(join(root, folder)).filter((file) =>
      /^licen[cs]e/i.test(file),
    );
    const texts = licenceFiles.map((file) => readFileSync(join(root, folder, file), 'utf8').trim());
    const notices = new Set(paths.map(noticeOf).filter((text) => text.includes('Copyright')));
    return [`${name} ${version}, ${license}`, ...texts, ...notices].join('\n\n');
  });
  const rule = `\n\n${'-'.repeat(80)}\n\n`;
  const head = 'The code in this folder contains code of these packages.';
  writeFileSync(join(dist, 'THIRD-PARTY-NOTICES.txt'), `${[head, ...sections].join(rule)}\n`);
}

/** The lines of comment that a file begins with. */
function noticeOf(path: string): string {
  const text = readFileSync(join(root, path), 'utf8');
  const lines = /^(?:\/\/.*\n)*/.exec(text)?.[0] ?? '';
  return lines.replaceAll(/^\/\/ ?/gm, '').trim();
}

function copyViewer(): void {
  const target = join(dist, viewer);
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(join(sources, viewer)))
    copyFileSync(join(sources, viewer, name), join(target, name));
}

function sourceOf(path: string, outputs: string, inputs: string): string {
  return join(inputs, relative(outputs, path).replace(/\.(js|d\.ts)$/, '.ts'));
}

const examples = join(dist, 'examples');
removeStaleOutputs(examples, (path) =>
  existsSync(sourceOf(path, examples, join(root, 'examples'))),
);

const isDeclared = compile('tsconfig.build.json');
if (isDeclared) {
  const code = await bundle();
  copyViewer();
  removeStaleOutputs(
    dist,
    (path) =>
      code.has(path) ||
      path.startsWith(examples) ||
      (path.endsWith('.d.ts') && existsSync(sourceOf(path, dist, sources))) ||
      existsSync(join(sources, relative(dist, path))),
  );
  chmodSync(join(dist, 'cli', 'main.js'), 0o755);
}
process.exitCode = isDeclared && compile('examples/tsconfig.json') ? 0 : 1;
