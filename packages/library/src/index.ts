export { type BuiltInPaper, type CollectionChanges, syncCollection } from "./collection/builtIn.ts";
export { type Claim, InvalidPaperError, type Paper, VERDICTS, type Verdict } from "./collection/paper.ts";
export type { PaperFilter, PaperPage } from "./collection/readPapers.ts";
export { ConfigurationError, type LibraryOptions, libraryOptionsFrom } from "./configuration.ts";
export { FolderInUseError } from "./database/folderLock.ts";
