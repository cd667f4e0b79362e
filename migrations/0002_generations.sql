-- What a partition was last appended under, kept where Redis cannot forget it; see packages/stream/src/generation.ts.
CREATE TABLE IF NOT EXISTS `partition_generations` (
	`partition_no` int NOT NULL,
	`number` bigint unsigned NOT NULL,
	`closed` varchar(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
	`began_at` datetime(3) NOT NULL,
	CONSTRAINT `partition_generations_partition_no` PRIMARY KEY(`partition_no`)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;
--> statement-breakpoint
-- A void stands at its last seq now. MySQL has no "rename if it is there", so it is asked first.
SET @rename_void = IF(
	(SELECT COUNT(*) FROM information_schema.columns
		WHERE table_schema = DATABASE() AND table_name = 'entries' AND column_name = 'void_to') = 1,
	'ALTER TABLE `entries` CHANGE COLUMN `void_to` `void_from` bigint unsigned',
	'DO 0');
--> statement-breakpoint
PREPARE rename_void FROM @rename_void;
--> statement-breakpoint
EXECUTE rename_void;
--> statement-breakpoint
DEALLOCATE PREPARE rename_void;
