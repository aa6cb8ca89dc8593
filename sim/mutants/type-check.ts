/**
 * Whether a mutant is a program at all. What runs the checks erases types without looking at them, so a mutant that calls
 * something that does not exist would be "caught" for the wrong reason; here the compiler looks at every text that a mutant
 * changes.
 */
import { join } from 'node:path';
import ts from 'typescript';

/** Left over by edits on purpose: names that are no longer used, statements that are no longer reached. */
const harmlessCodes = new Set([6133, 6192, 6196, 6198, 7027]);

/** Type-checks changed texts among the unchanged sources of a repository. */
export class MutantTypeCheck {
  readonly #root: string;
  readonly #options: ts.CompilerOptions;
  readonly #rootFiles: readonly string[];
  readonly #unchanged = new Map<string, ts.SourceFile | undefined>();
  #program: ts.Program | undefined;

  constructor(root: string) {
    this.#root = root;
    const config = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path));
    const parsed = ts.parseJsonConfigFileContent(config.config, ts.sys, root);
    this.#options = { ...parsed.options, incremental: false };
    delete this.#options.tsBuildInfoFile;
    this.#rootFiles = parsed.fileNames.filter((path) => path.startsWith(join(root, 'src')));
  }

  /** What the compiler says against the texts, or `undefined`. */
  problemOf(texts: ReadonlyMap<string, string>): string | undefined {
    const changed = new Map(
      [...texts].map(([file, text]) => [
        join(this.#root, file),
        ts.createSourceFile(join(this.#root, file), text, this.#languageVersion(), true),
      ]),
    );
    const host = ts.createCompilerHost(this.#options);
    const load = host.getSourceFile.bind(host);
    host.getSourceFile = (path, ...rest): ts.SourceFile | undefined => {
      const mutated = changed.get(path);
      if (mutated !== undefined) return mutated;
      if (!this.#unchanged.has(path)) this.#unchanged.set(path, load(path, ...rest));
      return this.#unchanged.get(path);
    };
    const program = ts.createProgram({
      rootNames: this.#rootFiles,
      options: this.#options,
      host,
      ...(this.#program === undefined ? {} : { oldProgram: this.#program }),
    });
    this.#program = program;
    for (const path of changed.keys()) {
      const file = program.getSourceFile(path);
      if (file === undefined) return `${path} is no source of the product`;
      const problem = [
        ...program.getSyntacticDiagnostics(file),
        ...program.getSemanticDiagnostics(file),
      ].find(({ code }) => !harmlessCodes.has(code));
      if (problem !== undefined) return ts.flattenDiagnosticMessageText(problem.messageText, ' ');
    }
    return undefined;
  }

  #languageVersion(): ts.CreateSourceFileOptions {
    return {
      languageVersion: this.#options.target ?? ts.ScriptTarget.ES2023,
      impliedNodeFormat: ts.ModuleKind.ESNext,
    };
  }
}
