/** The repository's own files, as the tidy tests see them. */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import ts from 'typescript';

export const root: string = resolve(dirname(fileURLToPath(import.meta.url)), '..', '..');

/** What no version of the repository contains. */
const skippedFolders = new Set([
  'node_modules',
  'dist',
  'coverage',
  '.git',
  '.clustor',
  '.cache',
  '.bench',
]);

/** Paths below `folder`, relative to the repository, with forward slashes, sorted. */
export function filesBelow(folder: string, pattern: RegExp): readonly string[] {
  const found: string[] = [];
  const visit = (directory: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      if (entry.isDirectory() && !skippedFolders.has(entry.name)) {
        visit(join(directory, entry.name));
      } else if (entry.isFile() && pattern.test(entry.name)) {
        found.push(relative(root, join(directory, entry.name)).replaceAll('\\', '/'));
      }
    }
  };
  visit(join(root, folder));
  return found.sort();
}

/** The text of a file of the repository. */
export function textOf(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** Number of lines, not counting the empty one behind the last line break. */
export function lineCountOf(text: string): number {
  return text.replace(/\n$/, '').split('\n').length;
}

/** Everything that a source file imports, exports from, or imports on demand. */
export function importsOf(path: string): readonly string[] {
  return ts.preProcessFile(textOf(path), true, true).importedFiles.map((file) => file.fileName);
}

/** What a source file still imports when its types are erased. */
export function runtimeImportsOf(path: string): readonly string[] {
  return syntaxOf(path).statements.flatMap((statement) => {
    const isTypeOnly =
      (ts.isImportDeclaration(statement) &&
        statement.importClause?.phaseModifier === ts.SyntaxKind.TypeKeyword) ||
      (ts.isExportDeclaration(statement) && statement.isTypeOnly);
    if (isTypeOnly) return [];
    if (!ts.isImportDeclaration(statement) && !ts.isExportDeclaration(statement)) return [];
    const specifier = statement.moduleSpecifier;
    return specifier !== undefined && ts.isStringLiteral(specifier) ? [specifier.text] : [];
  });
}

/** Folder of `src` that a source file belongs to; `index` for the main entry point. */
export function layerOf(path: string): string {
  const [, folder = '', rest] = path.split('/');
  return rest === undefined ? 'index' : folder;
}

/** Parses a source file. */
export function syntaxOf(path: string): ts.SourceFile {
  return ts.createSourceFile(path, textOf(path), ts.ScriptTarget.ES2023, true);
}

/** Visits every node below `node`, depth first. */
export function eachNode(node: ts.Node, visit: (node: ts.Node) => void): void {
  visit(node);
  node.forEachChild((child) => {
    eachNode(child, visit);
  });
}
