"""What keeps a store small, whole and honest: compaction, verification, forgetting, publishing, anchors."""
