export { InvalidBackupError, type RestoreOptions, type RowCounts } from "./backup/backup.ts";
export type { BuiltInPaper, CollectionChanges } from "./collection/builtIn.ts";
export { type Claim, InvalidPaperError, type Paper, VERDICTS, type Verdict } from "./collection/paper.ts";
export type { PaperFilter, PaperPage } from "./collection/readPapers.ts";
export { ConfigurationError, type LibraryOptions, libraryOptionsFrom } from "./configuration.ts";
export { FolderInUseError } from "./database/folderLock.ts";
export { type Letter, type Mailer, MailRefusedError, outboxMailer, smtpMailer } from "./digest/mailer.ts";
export { createMailer, type MailSettings, mailSettingsFrom } from "./digest/mailSettings.ts";
export {
  type DigestOptions,
  type DigestReport,
  previewDigests,
  sampleDigest,
  sendDigests,
} from "./digest/sendDigests.ts";
export { IMPORT_FORMATS, type ImportFormat, type ImportReport } from "./import/importFile.ts";
export { UnreadableFileError } from "./import/record.ts";
export { Library, openLibrary } from "./library.ts";
export {
  type Job,
  type JobOutcome,
  type Scheduler,
  type SchedulerOptions,
  startScheduler,
} from "./scheduler/scheduler.ts";
export { DEFAULT_EMBEDDER } from "./search/embedding/embeddings.ts";
export { InvalidSearchError, type SearchHit, type SearchPage, type SearchRequest } from "./search/search.ts";
export type { Segment } from "./search/snippet.ts";
export { sendConfirmation } from "./subscriptions/sendConfirmation.ts";
export type { Interests, Schedule, Subscriber } from "./subscriptions/subscriber.ts";
export {
  InvalidSubscriptionError,
  type SubscriptionRequest,
  type SubscriptionResult,
  Subscriptions,
} from "./subscriptions/subscriptions.ts";
export { parseSources, readSources, type Source } from "./sync/sources.ts";
export { type SourceReport, type SyncOptions, syncSources } from "./sync/syncSources.ts";
export { InvalidTokenError } from "./tokens/tokens.ts";
export type { TrendingPaper, TrendingRequest } from "./trending/trending.ts";
export { type TrendingWindow, trendingScore } from "./trending/trendingScore.ts";
export { UnknownPaperError, Votes } from "./trending/votes.ts";
