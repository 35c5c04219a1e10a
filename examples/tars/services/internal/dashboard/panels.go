package dashboard

import (
	"context"
	"fmt"

	"github.com/tars-ai/tars/services/internal/store"
)

func overviewPanels(ctx context.Context, s *store.Store) ([]panel, error) {
	counts, err := s.MissionCounts(ctx)
	return countPanels("Missions: ", counts), err
}

func agentPanels(ctx context.Context, s *store.Store) ([]panel, error) {
	counts, err := s.AgentCounts(ctx)
	return countPanels("Agent: ", counts), err
}

func countPanels(prefix string, counts []store.Count) []panel {
	panels := make([]panel, 0, len(counts))
	for _, c := range counts {
		panels = append(panels, panel{prefix + c.Name, fmt.Sprint(c.Missions)})
	}
	return panels
}

func evaluationPanels(ctx context.Context, s *store.Store) ([]panel, error) {
	scores, err := s.EvaluationPanels(ctx)
	panels := make([]panel, 0, len(scores))
	for _, score := range scores {
		panels = append(panels, panel{"Mean score of " + score.Agent, fmt.Sprintf("%.3f", score.Score)})
	}
	return panels, err
}
