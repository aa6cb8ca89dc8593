/**
 * Compares the public interface of every entry point with the reports in `docs/reference/api/`.
 *
 * A difference is not wrong, it is a decision: `npm run api:update` records it, and the review sees it.
 * Reads `dist/`, so build first.
 */
import { existsSync, mkdirSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Extractor, ExtractorConfig, ExtractorLogLevel } from '@microsoft/api-extractor';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const reportFolder = join(root, 'docs', 'reference', 'api');

const entryPoints: readonly { readonly name: string; readonly declarations: string }[] = [
  { name: 'clustor', declarations: 'index.d.ts' },
  { name: 'clustor-client', declarations: 'client/index.d.ts' },
  { name: 'clustor-raft', declarations: 'raft/index.d.ts' },
  { name: 'clustor-testing', declarations: 'testing/index.d.ts' },
];

function configurationOf(name: string, declarations: string): ExtractorConfig {
  return ExtractorConfig.prepare({
    configObject: {
      projectFolder: root,
      newlineKind: 'lf',
      mainEntryPointFilePath: join(root, 'dist', declarations),
      compiler: {
        overrideTsconfig: {
          compilerOptions: {
            target: 'es2023',
            lib: ['es2023', 'esnext.disposable'],
            module: 'nodenext',
            moduleResolution: 'nodenext',
            types: ['node'],
            strict: true,
            skipLibCheck: true,
          },
          include: ['dist'],
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: `${name}.api.md`,
        reportFolder,
        reportTempFolder: join(root, 'node_modules', '.cache', 'api-report'),
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        compilerMessageReporting: { default: { logLevel: ExtractorLogLevel.Warning } },
        extractorMessageReporting: {
          default: { logLevel: ExtractorLogLevel.Warning, addToApiReportFile: true },
          // Types reached only through signatures are part of the interface without being exported by name.
          'ae-forgotten-export': { logLevel: ExtractorLogLevel.None },
          'ae-missing-release-tag': { logLevel: ExtractorLogLevel.None },
          'ae-unresolved-link': { logLevel: ExtractorLogLevel.None },
          // A bare tag is a full doc comment for what its name explains.
          'ae-undocumented': { logLevel: ExtractorLogLevel.None },
        },
        tsdocMessageReporting: { default: { logLevel: ExtractorLogLevel.None } },
      },
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: join(root, 'package.json'),
  });
}

function reportEntryPoint(name: string, declarations: string, update: boolean): boolean {
  const path = join(root, 'dist', declarations);
  if (!existsSync(path)) {
    console.error(`${path} is missing: build first`);
    return false;
  }
  const result = Extractor.invoke(configurationOf(name, declarations), {
    localBuild: update,
    messageCallback: (message) => {
      if (update) {
        message.handled = true;
        return;
      }
      if (
        message.logLevel === ExtractorLogLevel.Error ||
        message.logLevel === ExtractorLogLevel.Warning
      ) {
        console.error(`${name}: ${message.text}`);
      }
      message.handled = true;
    },
  });
  if (result.apiReportChanged && !update) {
    console.error(`${name}: the public interface differs from docs/reference/api/${name}.api.md`);
  }
  return update || !result.apiReportChanged;
}

const update = process.argv.includes('--update');
mkdirSync(reportFolder, { recursive: true });
let same = true;
for (const { name, declarations } of entryPoints) {
  same = reportEntryPoint(name, declarations, update) && same;
}
process.exitCode = same ? 0 : 1;
